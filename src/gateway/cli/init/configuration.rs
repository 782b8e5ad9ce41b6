//! The text of a configuration for a catalogue: pure.
//!
//! Values that the catalogue does not contain are marked with "Not known:" and left to be filled in.
//! Endpoints require a JWT, since nothing in a catalogue says which clients may see rows.

use std::fmt::Write;

use super::catalogue::{Catalogue, Column, Table};

/// Most tables that get endpoints: the operator has to read the result before using it.
const TABLES_MAX: usize = 50;

/// The text of the configuration; `server` contains no credentials.
pub(super) fn configuration(server: &str, found: &Catalogue) -> String {
    let server = plain(server);
    let mut text = format!(
        "# Written by `tidegate init` for {server}.\n\
         # REGION, DATABASE_URL and the secrets stay in the environment; docs/configuration.md lists all settings.\n\
         # Lines that say \"Not known\" are what the catalogue could not tell.\n"
    );
    let (served, left_out): (Vec<_>, Vec<_>) =
        found.tables.iter().partition(|it| obstacle(it).is_none());
    if served.is_empty() {
        let role = plain(&found.role);
        let _infallible = write!(
            text,
            "\n# The role {role} may read no table that has a primary key: grant it what clients shall read, and\n\
             # write this file again. Empty tables, since the built-in API would be served without them.\n\
             policy = []\nendpoint = []\n"
        );
    }
    text.push_str(&topology(found));
    text.push_str(&pool(found));
    for table in served.iter().take(TABLES_MAX) {
        text.push_str(&endpoints(table));
    }
    let why = |table: &&Table| (table.quoted.clone(), obstacle(table).unwrap_or_default());
    let beyond = served.iter().skip(TABLES_MAX);
    let beyond = beyond.map(|table| (table.quoted.clone(), "one table too many"));
    let left_out: Vec<_> = left_out.iter().map(why).chain(beyond).collect();
    text + &without_endpoints(&left_out)
}

/// The topology: the catalogue contains addresses, but no regions.
fn topology(found: &Catalogue) -> String {
    let mut text = "\n# Not known: the region of the primary.\n\
                    # [topology]\n# primary_region = \"us-east-1\"\n"
        .to_owned();
    let seen = found.replicas.iter().filter(|_| found.sees_replicas);
    for (address, name) in seen {
        let (address, name) = (plain(address), plain(name));
        let _infallible = write!(
            text,
            "\n# A replica streams to {address} ({name}). Not known: its region, and the URL that leads to it.\n\
             # In the region of this gateway it belongs into DATABASE_READ_REPLICA_URL instead.\n\
             # [[topology.replica]]\n# region = \"eu-west-1\"\n# url = \"${{EU_REPLICA_URL}}\"\n"
        );
    }
    let role = plain(&found.role);
    let _infallible = match (found.sees_replicas, found.replicas.is_empty()) {
        (false, _) => write!(
            text,
            "\n# Not known: where replicas are. The role {role} may not see it, and the gateway will notice less of\n\
             # them: grant pg_read_all_stats to {role}\n"
        ),
        (true, true) => write!(
            text,
            "\n# No replica streams from this server at the moment.\n"
        ),
        (true, false) => Ok(()),
    };
    text
}

fn pool(found: &Catalogue) -> String {
    let most = &found.connections_max;
    format!(
        "\n# Each gateway opens up to connections_max + 2 connections to every node; this server allows {most} in all.\n\
         # [pool]\n# connections_max = 16\n"
    )
}

/// Why a table gets no endpoint.
fn obstacle(table: &Table) -> Option<&'static str> {
    let key = key(table);
    let names = table.schema.iter().chain([&table.name]);
    match () {
        () if key.is_empty() => Some("it has no primary key"),
        () if !key.iter().all(|column| column.may_select) => {
            Some("its primary key may not be read")
        }
        () if !names
            .chain(key.iter().map(|it| &it.name))
            .all(|it| is_plain(it)) =>
        {
            Some("its name or its key's needs quoting")
        }
        () => None,
    }
}

/// The columns of the primary key, in its order.
fn key(table: &Table) -> Vec<&Column> {
    let mut key: Vec<_> = table
        .columns
        .iter()
        .filter(|it| it.key_place.is_some())
        .collect();
    key.sort_by_key(|column| column.key_place);
    key
}

/// A policy, an endpoint that reads one row, and one that adds a row where the role may.
fn endpoints(table: &Table) -> String {
    let prefix: String = table
        .schema
        .iter()
        .chain([&table.name])
        .map(|it| format!("/{it}"))
        .collect();
    let key = key(table);
    let template: String = key
        .iter()
        .map(|column| format!("/{{{}}}", column.name))
        .collect();
    let wanted: Vec<_> = key
        .iter()
        .map(|it| format!("{} = :path.{}", it.quoted, it.name))
        .collect();
    let (quoted, wanted, shown) = (&table.quoted, wanted.join(" and "), shown(table));
    let select = toml_string(&format!("select {shown} from {quoted} where {wanted}"));
    let mut text = format!(
        "\n# {quoted}. Not known: the owners of its rows; `and owner = :claims.sub` shows each to its owner alone.\n\
         [[policy]]\n\
         path = \"{prefix}/*\"\n\
         consistency = \"session\"          # nothing older than what the client has seen or written\n\n\
         [[endpoint]]\n\
         method = \"GET\"\n\
         path = \"{prefix}{template}\"\n\
         auth = \"jwt\"                     # \"none\" opens it to everybody\n\
         sql = {select}\n\
         single = true\n"
    );
    match insert(table) {
        Ok(insert) => text.push_str(&format!("\n[[endpoint]]\nmethod = \"POST\"\npath = \"{prefix}\"\nauth = \"jwt\"\nstatus = 201\n{insert}")),
        Err(why) => text.push_str(&format!("# No POST: {why}.\n")),
    }
    text
}

/// The columns of a row that an endpoint returns.
fn shown(table: &Table) -> String {
    let columns = table.columns.iter().filter(|column| column.may_select);
    let columns: Vec<_> = columns.map(|column| column.quoted.as_str()).collect();
    columns.join(", ")
}

/// The statement that adds a row, with the keys that go with it; or why there is none.
fn insert(table: &Table) -> Result<String, String> {
    let given = |column: &&Column| !column.has_default;
    let given: Vec<_> = table.columns.iter().filter(given).collect();
    let may_be_given = |column: &Column| column.may_insert && is_plain(&column.name);
    if let Some(column) = given.iter().find(|it| it.not_null && !may_be_given(it)) {
        return Err(format!(
            "{} is required and may not be inserted, or needs quoting",
            plain(&column.quoted)
        ));
    }
    let given: Vec<_> = given.into_iter().filter(|it| may_be_given(it)).collect();
    if given.is_empty() {
        return Err("the role may insert nothing that has no default".to_owned());
    }
    let columns: Vec<_> = given.iter().map(|column| column.quoted.as_str()).collect();
    let values: Vec<_> = given
        .iter()
        .map(|column| format!(":body.{}", column.name))
        .collect();
    let (quoted, columns, values) = (&table.quoted, columns.join(", "), values.join(", "));
    let shown = shown(table);
    let statement = format!("insert into {quoted} ({columns}) values ({values}) returning {shown}");
    let mut text = format!("sql = {}\nsingle = true\n", toml_string(&statement));
    let strings: Vec<_> = given
        .iter()
        .filter(|it| it.is_text)
        .map(|it| toml_string(&it.name))
        .collect();
    if !strings.is_empty() {
        text.push_str(&format!("body_strings = [{}]\n", strings.join(", ")));
    }
    Ok(text)
}

fn without_endpoints(left_out: &[(String, &str)]) -> String {
    let lines = left_out
        .iter()
        .map(|(name, why)| format!("#   {}: {why}\n", plain(name)));
    match left_out {
        [] => String::new(),
        _ => format!(
            "\n# Tables without endpoints:\n{}",
            lines.collect::<String>()
        ),
    }
}

/// Whether a name can be used in a path and after `:body.`.
fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A name for use in a comment: on one line, whatever it contains.
fn plain(name: &str) -> String {
    name.escape_debug().to_string()
}

fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}
