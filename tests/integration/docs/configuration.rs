//! `docs/configuration.md`, written from the settings that the rooms declare.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use tidegate::gateway::config::{PROCESS, TABLES, Table};
use tidegate_model::settings::Setting;

use super::{ROOT, file, keys};

const PAGE: &str = "docs/configuration.md";

/// What stands before the tables.
const HEAD: &str = r#"# Configuration

<!-- Written from the settings that the code declares; a test fails when it differs and says what to do. -->

*For operators: what can be set, what applies if it is not, and what breaks when a value is wrong?*

* [Where values come from](#where-values-come-from)
* [The process](#the-process): variables and flags
* [The file](#the-file): its sections with their defaults
"#;

const SOURCES: &str = r#"
## Where values come from

Flags take precedence over environment variables, variables over the file, and the file over the defaults. An empty
variable counts as absent, except `ADMIN_TOKEN`, which must not be empty. A variable that is not set may be a file of its
name in `CREDENTIALS_DIRECTORY`, where systemd puts [credentials](deployment.md). `tidegate check` prints every setting in force with its value and where that came from;
secrets are never printed. A value that cannot be used ends the process at start with exit code 2 and one line that names
the variable, or the file, line and key.

SIGHUP reads the [policies, endpoints and upstreams](endpoints.md) of the file again; everything else needs a
[restart](deployment.md#starting-reloading-stopping).

## The process

Prefer variables to flags for URLs, since flags are visible in the process list. A database URL names one server, in the
form `postgres://user:password@host:5432/database` (`@` and `/` in a password are written `%40` and `%2F`). A
`host` or `port` after the `?` is taken only if no host stands before it. The URL accepts libpq's TLS parameters; see
[TLS to PostgreSQL](security.md#tls-to-postgresql).

"#;

const FILE: &str = r#"
## The file

The configuration file is TOML, at most 4 MiB. Unknown keys are errors. `${NAME}` in a URL or a region is replaced by the
environment variable. Durations are written as `"250ms"`, `"5s"` or `"1h"`, sizes as `"64KiB"` or `"1MiB"`. The keys of
the process stand before the first section.

All sections with their defaults:

```toml
[topology]                      # an example: it has no defaults
primary_region = "us-east-1"
[[topology.replica]]
region = "ap-southeast-1"
url = "${AP_REPLICA_URL}"
"#;

/// The page as it should be.
fn page() -> String {
    let mut page = HEAD.to_owned();
    for header in TABLES.map(|table| table.header) {
        let anchor: String = header.chars().filter(|c| c.is_alphanumeric()).collect();
        let line = format!("  * [`{header}`](#{anchor})\n");
        if !page.contains(&line) {
            page.push_str(&line);
        }
    }
    page.push_str(SOURCES);
    page.push_str("| variable | flag | key of the file | default | values | meaning |\n|---|---|---|---|---|---|\n");
    page.extend(PROCESS.iter().map(process_row));
    page.push_str(FILE);
    page.extend(TABLES.iter().filter(|it| it.is_section).map(defaults));
    page.push_str("```\n");
    let mut before = "";
    for table in &TABLES {
        if table.header != before {
            write!(page, "\n### `{}`\n", table.header).unwrap();
        }
        before = table.header;
        page.push_str(&reference(table));
    }
    page
}

fn process_row(setting: &Setting) -> String {
    let code = |name: Option<&str>| name.map_or_else(|| "–".to_owned(), |name| format!("`{name}`"));
    let key = Some(setting.key).filter(|key| !key.is_empty());
    let names = [setting.variable, setting.flag, key].map(code).join(" | ");
    let (default, range) = (default(setting), (setting.range)());
    format!("| {names} | {default} | {range} | {} |\n", meaning(setting))
}

/// A section as TOML, with its defaults.
fn defaults(table: &Table) -> String {
    let lines = table.settings.iter().map(|setting| {
        let (key, default) = (setting.key, (setting.default)());
        format!("{key} = {default}\n")
    });
    format!("\n{}\n{}", table.header, lines.collect::<String>())
}

fn reference(table: &Table) -> String {
    let header = table.header;
    let mut text = format!("\n{}\n\n", table.about);
    let of = if header.starts_with('[') { "of" } else { "in" };
    writeln!(
        text,
        "| key {of} `{header}` | default | values | meaning |\n|---|---|---|---|"
    )
    .unwrap();
    for setting in table.settings {
        let (key, default, range) = (setting.key, default(setting), (setting.range)());
        writeln!(
            text,
            "| `{key}` | {default} | {range} | {} |",
            meaning(setting)
        )
        .unwrap();
    }
    text
}

/// The default: as code where it is a value.
fn default(setting: &Setting) -> String {
    let default = (setting.default)();
    let is_value = default.starts_with('"') || !default.contains(' ');
    match &*default {
        "required" | "none" | "built-in" => default,
        _ if is_value => format!("`{default}`"),
        _ => default,
    }
}

/// What it is for, and what breaks.
fn meaning(setting: &Setting) -> String {
    let words: Vec<_> = setting.meaning.split_whitespace().collect();
    let mut meaning = words.join(" ");
    for (which, breaks) in [("Too low", setting.too_low), ("Too high", setting.too_high)] {
        if !breaks.is_empty() {
            write!(meaning, " {which}: {breaks}").unwrap();
        }
    }
    meaning
}

#[test]
fn the_page_is_what_the_rooms_declare() {
    let (written, page) = (file(PAGE), page());
    if written != page {
        let new = Path::new(ROOT).join("target/configuration.md");
        fs::write(&new, &page).unwrap();
        panic!("{PAGE} is not what the settings declare: cp target/configuration.md {PAGE}");
    }
}

#[test]
fn every_key_is_declared_by_its_table() {
    let mut declared: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for table in TABLES {
        let keys = table.settings.iter().map(|setting| setting.key);
        declared.entry(table.header).or_default().extend(keys);
    }
    for (header, mut declared) in declared.into_iter().filter(|it| it.0.starts_with('[')) {
        let mut known: Vec<_> = keys(header).into_iter().collect();
        known.retain(|key| header != "[topology]" || key != "replica");
        // Peers have a table of their own.
        known.retain(|key| header != "[fleet]" || key != "peers");
        declared.sort_unstable();
        assert_eq!(declared, known, "{header}");
    }
}

#[test]
fn every_number_and_duration_says_what_breaks_when_it_is_wrong() {
    let sections = TABLES.iter().filter(|table| table.is_section);
    let is_list = |setting: &&Setting| (setting.default)().starts_with('[');
    let is_text = |setting: &&Setting| {
        let range = (setting.range)();
        range.contains("path of a file") || range.contains("DNS name") || range.starts_with('`')
    };
    let settings = sections.flat_map(|table| table.settings);
    for setting in settings.filter(|it| !is_list(it) && !is_text(it)) {
        let both = [setting.too_low, setting.too_high];
        assert!(both.iter().all(|it| it.ends_with('.')), "{}", setting.key);
    }
}
