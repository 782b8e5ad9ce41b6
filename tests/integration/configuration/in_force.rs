//! `tidegate check` prints every setting with its value and what set it, and no secret.

use tempfile::TempDir;
use tidegate::gateway::config::{PROCESS, TABLES};

use super::tidegate;
use crate::world::printed;

const FILE: &str = r#"listen = "127.0.0.1:1"
admin = "127.0.0.1:${ADMIN_PORT}"
topology.primary_region = "us-east-1"
[server]
header_timeout = "90s"
trusted_proxies = ["10.0.0.0/8"]
[cache]
bytes_max = 0
[[endpoint]]
method = "*"
path = "/app"
upstream = "app"
[[upstream]]
name = "app"
nodes = [{ region = "eu-west-1", url = "http://near:3000" }]
timeout = "1500ms"
"#;

/// The list of settings that `check` prints of the file, its own name cut, with these variables and flags.
async fn check(variables: &[(&str, &str)], flags: &[&str]) -> String {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, FILE).unwrap();
    let command = tidegate("check").env("TIDEGATE_CONFIG", &path);
    // Those that the kit sets would win over the file.
    let command = command.env("LISTEN_ADDR", "").env("ADMIN_ADDR", "");
    let set =
        |command: super::GatewayCommand, (name, value): &(&str, &str)| command.env(name, *value);
    let command = variables.iter().fold(command, set);
    let command = flags
        .iter()
        .fold(command, |command, flag| command.arg(flag));
    let text = printed(command)
        .await
        .replace(path.to_str().unwrap(), "file");
    assert!(!text.contains("hunter2"), "{text}");
    let (_, settings) = text.split_once("\nSETTINGS").unwrap();
    settings.to_owned()
}

const VARIABLES: [(&str, &str); 6] = [
    ("REGION", "eu-west-1"),
    ("DATABASE_URL", "postgres://app:hunter2@db/app"),
    ("ADMIN_PORT", "2"),
    ("TOKEN_SECRET", "hunter2-hunter2-hunter2"),
    ("AUTH_JWT_SECRET", "hunter2-hunter2-hunter2"),
    ("RUST_LOG", "debug"),
];

#[tokio::test]
async fn every_setting_is_printed_with_its_value_and_what_set_it() {
    let text = check(&VARIABLES, &["--region", "us-east-1"]).await;
    for (name, value, place) in [
        ("region", "us-east-1", "--region"),
        (
            "database_url",
            "postgresql://app:***@db:5432/app?sslmode=prefer",
            "DATABASE_URL",
        ),
        ("read_replica_url", "none", "default"),
        ("TIDEGATE_CONFIG", "file", "TIDEGATE_CONFIG"),
        ("listen", "127.0.0.1:1", "file:1"),
        ("admin", "127.0.0.1:2", "file:2"),
        ("TOKEN_SECRET", "set", "TOKEN_SECRET"),
        ("AUTH_JWT_SECRET", "set", "AUTH_JWT_SECRET"),
        ("AUTH_JWKS_URL", "none", "default"),
        ("RUST_LOG", "debug", "RUST_LOG"),
        ("topology.primary_region", "us-east-1", "file:3"),
        ("server.header_timeout", "\"90s\"", "file:5"),
        ("server.idle_timeout", "\"75s\"", "default"),
        ("server.trusted_proxies", "[\"10.0.0.0/8\"]", "file:6"),
        ("pool.connections_max", "16", "default"),
        ("cache.bytes_max", "0", "file:8"),
        ("upstream.app.timeout", "\"1500ms\"", "file:16"),
        ("upstream.app.idle_timeout", "\"60s\"", "default"),
    ] {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let words: Vec<_> = line.unwrap_or(name).split_whitespace().collect();
        assert_eq!(words.join(" "), format!("{name} {value} {place}"), "{text}");
    }
}

#[tokio::test]
async fn no_declared_setting_is_left_out() {
    let text = check(&VARIABLES, &[]).await;
    let process = PROCESS.iter().map(|setting| setting.name().to_owned());
    let sections = TABLES
        .iter()
        .filter(|table| table.is_section)
        .flat_map(|table| {
            let section = table.header.trim_matches(['[', ']']);
            let names = table.settings.iter().map(|setting| setting.key);
            names.map(move |key| format!("{section}.{key}"))
        });
    for name in process.chain(sections) {
        let printed = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name} ")));
        assert_eq!(printed.count(), 1, "{name}\n{text}");
    }
}
