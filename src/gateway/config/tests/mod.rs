//! Flags, variables and file, merged; no process and no database.

mod upstream;

use std::io::Write;
use std::time::Duration;
use tidegate_model::Environment;

use tempfile::NamedTempFile;

use super::*;
use crate::endpoint::RouteTables;
use tidegate_model::RegionId;

const URL: &str = "postgres://app:hunter2@db/app";

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let required = [("REGION", "eu-west-1"), ("DATABASE_URL", URL)];
    Environment::from_pairs(required.iter().chain(pairs).copied())
}

/// The settings from a file's text and an environment; the file's name is removed from the error.
fn with_file(text: &str, environment: &Environment) -> Result<Settings, String> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let overrides = Overrides::default().with(&CONFIG, Some(path.to_owned()));
    let settings = Settings::resolve(&overrides, environment);
    settings.map_err(|error| error.to_string().replace(path, "file"))
}

fn error(text: &str) -> String {
    let message = with_file(text, &environment(&[])).unwrap_err();
    assert!(!message.contains("hunter2"), "{message}");
    message
}

#[test]
fn without_a_file_the_built_in_tables_and_the_documented_defaults_apply() {
    let settings = Settings::resolve(&Overrides::default(), &environment(&[])).unwrap();
    assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.routes.policies.len(), 11);
    assert_eq!(settings.routes.endpoints.len(), 22);
    assert_eq!(settings.server.body_bytes_max, 1 << 20);
    assert_eq!(settings.replication.max_lag, Duration::from_secs(5));
    assert_eq!(settings.cache.bytes_max, 64 << 20);
    assert_eq!(settings.cache.entry_bytes_max, 1 << 20);
    assert!(settings.replicas.is_empty() && settings.token_keys.is_none());
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let file = "region = 'a'\nlisten = '127.0.0.1:1'\nadmin = '127.0.0.1:1'";
    let variables = environment(&[("REGION", "b"), ("LISTEN_ADDR", "127.0.0.1:2")]);
    let settings = with_file(file, &variables).unwrap();
    assert_eq!(settings.region.as_str(), "b");
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.admin.port(), 1);
    let overrides = Overrides::default().with(&RegionId::SETTING, Some("c".to_owned()));
    let settings = Settings::resolve(&overrides, &variables).unwrap();
    assert_eq!(settings.region.as_str(), "c");
    assert_eq!(settings.listen.port(), 2);
}

#[test]
fn an_empty_variable_counts_as_absent() {
    let settings = with_file(
        "",
        &environment(&[("LISTEN_ADDR", ""), ("TOKEN_SECRET", "")]),
    );
    assert_eq!(settings.unwrap().listen.port(), 8080);
    let empty = Settings::resolve(&Overrides::default(), &environment(&[("REGION", "")]));
    let message = empty.unwrap_err().to_string();
    assert!(message.starts_with("REGION: is required"), "{message}");
}

#[test]
fn off_turns_a_listener_off_that_there_need_not_be() {
    let off = [
        ("FLEET_ADDR", "off"),
        ("STORAGE_ADDR", "off"),
        ("STORAGE_API_ADDR", "off"),
    ];
    let file = "[fleet]\nlisten = '127.0.0.1:8443'";
    for file in ["", file, "[fleet]\nlisten = 'off'"] {
        let settings = with_file(file, &environment(&off)).unwrap();
        assert!(settings.fleet.is_none() && settings.storage.is_none());
    }
    let in_file = with_file("[fleet]\nlisten = 'off'", &environment(&[]));
    assert!(in_file.unwrap().fleet.is_none());
    assert!(!has_fleet(&environment(&off)).unwrap());
    assert_eq!(fleet_name(&environment(&off)).unwrap(), None);
    for (name, _) in off {
        let refused = with_file("", &environment(&[(name, "of")])).unwrap_err();
        assert!(refused.ends_with("or `off`"), "{refused}");
    }
    // What there always is cannot be turned off.
    let refused = with_file("", &environment(&[("ADMIN_ADDR", "off")])).unwrap_err();
    assert!(refused.starts_with("ADMIN_ADDR = "), "{refused}");
}

#[test]
fn two_listeners_cannot_have_one_address() {
    let fleet = [
        ("TOKEN_SECRET", "a-token-secret-that-is-long-enough"),
        ("FLEET_CERT", "crt"),
        ("FLEET_KEY", "key"),
        ("FLEET_CA", "ca"),
    ];
    let refused = |file: &str, variables: &[(&str, &str)]| {
        let variables = [&fleet[..], variables].concat();
        with_file(file, &environment(&variables)).unwrap_err()
    };
    let of_admin = refused("", &[("LISTEN_ADDR", "127.0.0.1:9090")]);
    let taken = "127.0.0.1:9090 cannot be listened on, as LISTEN_ADDR takes it";
    assert_eq!(of_admin, format!("ADMIN_ADDR: {taken}"));
    let of_fleet = refused("", &[("FLEET_ADDR", "127.0.0.1:9090")]);
    assert!(of_fleet.starts_with("FLEET_ADDR: ") && of_fleet.contains("as ADMIN_ADDR takes it"));
    let in_file = refused(
        "[fleet]\nlisten = '[::]:8443'",
        &[("LISTEN_ADDR", "[::1]:8443")],
    );
    assert!(in_file.starts_with("file:2: [::]:8443 cannot"), "{in_file}");
    let any = [
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("ADMIN_ADDR", "127.0.0.1:0"),
    ];
    assert!(with_file("", &environment(&any)).is_ok());
}

#[test]
fn a_table_that_the_file_does_not_list_is_the_built_in_one() {
    let only_policy = "[[policy]]\npath = '/x'\n";
    let settings = with_file(only_policy, &environment(&[])).unwrap();
    assert_eq!(settings.routes.policies.len(), 1);
    assert_eq!(settings.routes.endpoints.len(), 22);
    let none = with_file("policy = []\nendpoint = []", &environment(&[])).unwrap();
    assert!(none.routes.policies.is_empty() && none.routes.endpoints.is_empty());
}

#[test]
fn the_local_replica_comes_first_and_a_variable_replaces_it() {
    let file = "[[topology.replica]]\nregion = 'ap-southeast-1'\nurl = 'postgres://ap/x'\n\
                [[topology.replica]]\nregion = 'eu-west-1'\nurl = 'postgres://eu/x'\n";
    let hosts = |environment: &Environment| {
        let settings = with_file(file, environment).unwrap();
        let replicas = settings.replicas.iter();
        let hosts: Vec<_> = replicas.map(|replica| replica.server.to_string()).collect();
        assert_eq!(
            settings.local_replica().unwrap().region.as_str(),
            "eu-west-1"
        );
        hosts
    };
    let listed = hosts(&environment(&[]));
    assert!(
        listed[0].contains("//eu:") && listed[1].contains("//ap:"),
        "{listed:?}"
    );
    let near = environment(&[("DATABASE_READ_REPLICA_URL", "postgres://near/x")]);
    let replaced = hosts(&near);
    assert!(
        replaced[0].contains("//near:") && replaced[1].contains("//ap:"),
        "{replaced:?}"
    );
    assert_eq!(replaced.len(), 2);
    let twice = error(&file.replace("ap-southeast-1", "eu-west-1"));
    assert_eq!(
        twice,
        "file:5: topology.replica.region = 'eu-west-1': it is listed twice"
    );
}

#[test]
fn names_in_braces_read_the_environment_and_nothing_else_does() {
    let variables = environment(&[("HOST", "db"), ("PASSWORD", "a${HOST}b")]);
    let replica = |url: &str| {
        let file = format!("read_replica_url = 'postgres://{url}'");
        with_file(&file, &variables).map(|settings| settings.replicas[0].server.to_string())
    };
    assert!(
        replica("app@${HOST}:54${EMPTY}/x")
            .unwrap_err()
            .contains("EMPTY is not set")
    );
    assert!(
        replica("app@${HOST}/$HOST")
            .unwrap()
            .contains("@db:5432/$HOST")
    );
    // A value is not expanded again.
    assert!(
        replica("app:${PASSWORD}@${HOST}/x")
            .unwrap()
            .contains("app:***@db")
    );
    assert_eq!(
        replica("app@${HOST/x").unwrap_err(),
        "file:1: read_replica_url = \"postgres://…\": `${` without `}`"
    );
}

#[test]
fn an_error_names_file_line_and_key() {
    for (text, expected) in [
        (
            "listen = 'nowhere'",
            "file:1: listen = 'nowhere': expected an IP address and a port",
        ),
        (
            "admin = 'nowhere'",
            "file:1: admin = 'nowhere': expected an IP address and a port",
        ),
        (
            "\nread_replica_url = 'db'",
            "file:2: read_replica_url = \"…\": must start with postgres://",
        ),
        (
            "topology.primary_region = 'X'",
            "file:1: topology.primary_region = 'X': a region name is lower-case",
        ),
        (
            "[pool]\nconnections_min = 5\nconnections_max = 4",
            "file:2: pool.connections_min = 5: it must not be above connections_max, which is 4",
        ),
        (
            "[server]\nbody_timeout = 30",
            "file:2: body_timeout = 30: expected a duration from \"1ms\" to \"1day\"",
        ),
        (
            "[server]\nbody_bytes_max = '1MB'",
            "file:2: body_bytes_max = '1MB': expected a size from \"1B\" to \"256MiB\"",
        ),
        (
            "[cache]\nbytes_max = 1024",
            "file:2: bytes_max = 1024: expected a size up to",
        ),
        (
            "[cache]\nbytes_max = '99999MiB'",
            "file:2: bytes_max = '99999MiB': expected a size up to",
        ),
        (
            "[cache]\nbytes_max = '1MiB'\nentry_bytes_max = '2MiB'",
            "file:3: cache.entry_bytes_max = '2MiB': it must not be above bytes_max",
        ),
        (
            "[[policy]]\npath = '/x'\nconsistency = 'bounded'",
            "file:3: consistency = 'bounded': bounded needs",
        ),
        (
            "[[policy]]\npath = '/x'\nfloor = 'strong'",
            "file:3: floor: unknown field `floor`",
        ),
        (
            "[[endpoint]]\nmethod = 'get'\npath = '/x'\nsql = 'select 1'",
            "file:2: method = 'get': expected GET",
        ),
        (
            "[[endpoint]]\nmethod = 'GET'\npath = '/x'",
            "file:2: sql: an endpoint needs either `sql` or `upstream`",
        ),
    ] {
        let message = error(text);
        assert!(message.starts_with(expected), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}

#[test]
fn the_admin_listener_has_an_address_or_a_section() {
    let file = "[admin]\nlisten = '127.0.0.1:7'\nhosts = ['gateway.internal']";
    let settings = with_file(file, &environment(&[("ADMIN_TOKEN", "t")])).unwrap();
    assert_eq!(settings.admin.port(), 7);
    assert_eq!(settings.admin_hosts, ["gateway.internal"]);
    assert!(settings.admin_token.is_some());
    assert!(!format!("{settings:?}").contains("\"t\""));
    let settings = with_file("admin = '127.0.0.1:8'", &environment(&[])).unwrap();
    assert!(settings.admin.port() == 8 && settings.admin_hosts.is_empty());
    assert!(settings.admin_token.is_none());
}

#[test]
fn the_cache_is_turned_off_by_a_zero_with_or_without_a_unit() {
    for zero in ["0", "'0B'"] {
        let file = format!("[cache]\nbytes_max = {zero}");
        let settings = with_file(&file, &environment(&[])).unwrap();
        assert_eq!(settings.cache.bytes_max, 0, "{zero}");
    }
}

#[test]
fn a_mistake_around_a_password_does_not_show_it() {
    for text in [
        "database_url 'postgres://app:hunter2@db/app'",
        "'postgres://app:hunter2@db/app?a=b'",
        "database_url = postgres://app:hunter2@db/app",
        "database_url = 'postgres://app:hunter2@db/app",
        "topology = 'postgres://app:hunter2@db/app'",
        "policy = ['postgres://app:hunter2@db/app\"x']",
        "[pool]\nconnections_max = 'postgres://app:hunter2@db/app'",
        "read_replica_url = 'postgres://app:hunter2@db/app?sslmode=never'",
        "read_replica_url = 'postgres://app:hunter2'",
    ] {
        error(text);
    }
}

/// The mapping table the project was commissioned with: path, level, Cache-Control.
const COMMISSION: [(&str, &str, &str); 14] = [
    ("/public/rates", "eventual", PUBLIC),
    ("/public/docs/terms", "eventual", PUBLIC),
    ("/api/v1/rates", "eventual", PUBLIC),
    ("/api/v1/rates/EUR/USD", "eventual", PUBLIC),
    ("/api/v1/fees", "eventual", PUBLIC),
    ("/account/balances", "strong", PRIVATE),
    ("/api/v1/onramp", "strong", PRIVATE),
    ("/api/v1/offramp/7", "strong", PRIVATE),
    ("/api/v1/mint", "strong", PRIVATE),
    ("/api/v1/transaction", "strong", PRIVATE),
    ("/api/v1/transactions/7", "strong", PRIVATE),
    ("/api/v1/transfers", "strong", PRIVATE),
    ("/api/v1/redemptions/7", "strong", PRIVATE),
    ("/health/edge", "strong", "no-store"),
];
const PUBLIC: &str = "public, max-age=300, stale-while-revalidate=60";
const PRIVATE: &str = "no-store, private";

#[test]
fn the_built_in_table_is_the_commissioned_one() {
    let table =
        tidegate_policy::PolicyTable::build(&RouteTables::built_in().unwrap().policies).unwrap();
    for (path, level, cache_control) in COMMISSION {
        let row = table.lookup(path).unwrap();
        assert_eq!(row.floor().to_string(), level, "{path}");
        assert_eq!(row.cache_control().header(), cache_control, "{path}");
    }
    assert!(table.lookup("/api/v1/ratesheet").is_none());
}
