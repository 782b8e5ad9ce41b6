//! The process contract: what is refused at start, and which sources take precedence.

mod commands;
mod in_force;
mod refused;
mod reload;

use std::process::Output;

use tempfile::TempDir;
use tidegate::testkit::{Cluster, GatewayCommand};

use crate::world::{BINARY, JWT_SECRET, gateway_of, printed};

/// A primary that cannot be reached, with a password that must not be shown.
const URL: &str = "postgres://app:hunter2@127.0.0.1:1/app";
const PASSWORD: &str = "hunter2";

fn tidegate(subcommand: &str) -> GatewayCommand {
    GatewayCommand::new(BINARY, subcommand)
}

/// A command that could start except for its database.
fn complete(subcommand: &str) -> GatewayCommand {
    let command = tidegate(subcommand).env("REGION", "eu-west-1");
    command.env("DATABASE_URL", URL)
}

/// Runs a command that must refuse its input, and returns the one line with the reason.
async fn refusal(command: GatewayCommand) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.unwrap();
    let line = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{line}");
    assert!(stdout.is_empty());
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        !line.contains(PASSWORD) && !line.contains("short-secret"),
        "{line}"
    );
    let line = line.strip_prefix("tidegate: ").unwrap();
    line.trim_end().to_owned()
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_named_on_one_line() {
    for (arguments, named) in [
        (["serve", "--listne"], "--listne"),
        (["srve", "--region"], "srve"),
        (["explain", "GET"], "<PATH>"),
        (["demo", "--port-base=99999999"], "99999999"),
    ] {
        let line = refusal(tidegate(arguments[0]).arg(arguments[1])).await;
        assert!(line.contains(named), "{line}");
    }
}

#[tokio::test]
async fn a_credential_of_the_service_counts_where_its_variable_is_not_set() {
    let credentials = TempDir::new().unwrap();
    let credential = |name: &str, value: &str| {
        std::fs::write(credentials.path().join(name), value).unwrap();
    };
    credential("DATABASE_URL", &format!("{URL}\n"));
    credential("TOKEN_SECRET", "a-token-secret-that-is-long-enough");
    credential("REGION", "ap-southeast-1");
    credential("key.pem", "not a variable");
    let check = || tidegate("check").env("CREDENTIALS_DIRECTORY", credentials.path());
    let text = printed(check().env("REGION", "eu-west-1")).await;
    for named in ["eu-west-1", "DATABASE_URL", "TOKEN_SECRET"] {
        assert!(text.contains(named), "{named} in\n{text}");
    }
    assert!(
        !text.contains("ap-southeast-1") && !text.contains(PASSWORD),
        "{text}"
    );

    credential("DATABASE_URL", "mysql://app:hunter2@db/app");
    let line = refusal(check()).await;
    assert!(line.starts_with("DATABASE_URL = "), "{line}");
}

#[tokio::test]
async fn a_variable_that_cannot_be_used_is_named_before_anything_listens() {
    let alone = tidegate("serve").env("DATABASE_URL", URL);
    assert!(refusal(alone).await.starts_with("REGION: is required"));
    let alone = tidegate("serve").env("REGION", "eu-west-1");
    assert!(
        refusal(alone)
            .await
            .starts_with("DATABASE_URL: is required")
    );
    for (name, value) in [
        ("REGION", "EU West"),
        ("REGION", "primary"),
        ("DATABASE_URL", "mysql://app:hunter2@db/app"),
        ("DATABASE_URL", "app:hunter2@db"),
        ("DATABASE_URL", "postgres://app:hunter2@a,b/app"),
        ("DATABASE_URL", "postgres://app:hunter2@db:port/app"),
        ("DATABASE_URL", "postgres://app:hun@ter2@db/app"),
        (
            "DATABASE_URL",
            "postgres://app:hunter2@db/app?sslmode=maybe",
        ),
        (
            "DATABASE_URL",
            "postgres://app:hunter2@db/app?sslmode=verify-full&sslrootcert=/nowhere",
        ),
        ("DATABASE_READ_REPLICA_URL", "postgres://"),
        ("LISTEN_ADDR", "8080"),
        ("ADMIN_ADDR", "localhost"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "tidegate=loud"),
        ("TOKEN_SECRET", "short-secret"),
        ("TOKEN_SECRET", "long-enough-to-be-a-secret,short-secret"),
        ("AUTH_JWT_SECRET", "short-secret"),
        ("AUTH_JWKS_URL", "http://issuer.example/jwks"),
        ("AUTH_JWT_AUDIENCE", "without-keys"),
        ("AUTH_JWT_ISSUER", "without-keys"),
    ] {
        let line = refusal(complete("serve").env(name, value)).await;
        assert!(
            line.starts_with(&format!("{name} = \"")) || name.ends_with("SECRET"),
            "{name}={value}: {line}"
        );
    }
    let both = complete("serve").env("AUTH_JWT_SECRET", JWT_SECRET);
    let both = both.env("AUTH_JWKS_URL", "https://issuer.example/jwks");
    let line = refusal(both).await;
    assert_eq!(
        line,
        "AUTH_JWKS_URL: contradicts AUTH_JWT_SECRET: set one of them"
    );
    let flag = complete("serve").arg("--listen").arg("everywhere");
    let line = refusal(flag).await;
    assert!(line.starts_with("--listen = \"everywhere\": "), "{line}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_line_and_key() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    let start = || complete("serve").env("TIDEGATE_CONFIG", &path);
    let line = refusal(start()).await;
    assert!(
        line.starts_with(&format!("{}: cannot be read: ", path.display())),
        "{line}"
    );

    let endpoint = |rest: &str| format!("[[endpoint]]\nmethod = \"GET\"\npath = \"/x\"\n{rest}\n");
    for (text, expected) in [
        (
            "[server]\nconections_max = 1\n",
            "2: conections_max: unknown field `conections_max`",
        ),
        ("[serve]\n", "1: unknown field `serve`"),
        ("region = 7\n", "1: region = 7: expected a string"),
        ("region = \"eu-west-1\n", "1: region = \"eu-west-1: "),
        ("database_url \"postgres://app:hunter2@db/app\"\n", "1: "),
        (
            "\n\nread_replica_url = \"postgres://app:hunter2@db/app?sslmode=never\"\n",
            "3: read_replica_url = \"postgres://…\": sslmode=never is not one of",
        ),
        (
            "read_replica_url = \"${REPLICA_URL}\"\n",
            "1: read_replica_url = \"${REPLICA_URL}\": the variable REPLICA_URL is not set",
        ),
        (
            "topology.primary_region = \"${UNCLOSED\"\n",
            "1: topology.primary_region = \"${UNCLOSED\": `${` without `}`",
        ),
        (
            "topology = \"postgres://app:hunter2@db/app\"\n",
            "1: topology = \"postgres://…\": expected a table",
        ),
        (
            "[[topology.replica]]\nregion = \"ap-southeast-1\"\nurl = \"${AP_REPLICA_URL}\"\n",
            "3: topology.replica.url = \"${AP_REPLICA_URL}\": the variable AP_REPLICA_URL is not set",
        ),
        (
            "[server]\n\nrequest_deadline = \"soon\"\n",
            "3: request_deadline = \"soon\": expected a duration",
        ),
        (
            "[server]\nbody_bytes_max = 5\n",
            "2: body_bytes_max = 5: expected a size",
        ),
        (
            "[health]\nfail_after = 0\n",
            "2: fail_after = 0: expected a whole number from 1 to 1000",
        ),
        (
            "[[policy]]\nconsistency = \"strong\"\n",
            "1: missing field `path`",
        ),
        (
            "[[policy]]\npath = \"/x\"\nconsistency = \"weak\"\n",
            "3: consistency = \"weak\": the level is not one of",
        ),
        (
            "[[policy]]\npath = \"/a/*\"\n[[policy]]\npath = \"/a*\"\n",
            "4: path = \"/a*\": it ties with \"/a/*\"",
        ),
        (
            "[[policy]]\npath = \"a\"\n",
            "2: path = \"a\": no request can match",
        ),
        (
            "[[policy]]\npath = \"/x\"\nrate_limit = \"100 per second\"\n",
            "3: rate_limit = \"100 per second\": expected requests per s, min, h or d, such as `100/s`",
        ),
        (
            "[[policy]]\npath = \"/x\"\nrate_limit = 100\n",
            "3: rate_limit = 100: expected a string",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"the-balancer\"]\n",
            "2: trusted_proxies = \"the-balancer\": expected a network",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.1/8\"]\n",
            "2: trusted_proxies = \"10.0.0.1/8\": expected the network \"10.0.0.0/8\"",
        ),
        (
            "[server]\ntrusted_proxies = [\"::ffff:10.0.0.0/104\"]\n",
            "2: trusted_proxies = \"::ffff:10.0.0.0/104\": expected IPv4, since",
        ),
        (
            "[server]\ntrusted_proxies = [\n  \"10.0.0.0/8\",\n  \"0.0.0.0/0\",\n]\n",
            "4: trusted_proxies = \"0.0.0.0/0\": expected the networks of the proxies",
        ),
        (
            "[[policy]]\npath = \"/a\"\ncache_control = \"max-age=5m\"\n",
            "3: cache_control = \"max-age=5m\": max-age needs a whole number",
        ),
        (
            &endpoint("sql = \"select :cookie.a\""),
            "4: sql = \"select :cookie.a\": `:cookie.a` is not a parameter",
        ),
        (
            &endpoint("sql = \"select :path.id\""),
            "4: sql = \"select :path.id\": `:path.id` is not in the path template",
        ),
        (
            &endpoint("sql = \"select :body.id\""),
            "4: sql = \"select :body.id\": `:body.id` cannot be used with GET",
        ),
        (
            &endpoint("sql = \"select :claims.sub\""),
            "4: sql = \"select :claims.sub\": `:claims.sub` needs auth = \"jwt\"",
        ),
        (
            &endpoint("sql = \"drop table notes\""),
            "4: sql = \"drop table notes\": it must begin with",
        ),
        (
            &endpoint("sql = \"with x as (delete from notes returning id) select * from x\""),
            "4: sql = \"with x as (delete from notes returning id) select * from x\": its `with` modifies",
        ),
        (
            &endpoint("sql = \"select 1\"\nstatus = 404"),
            "5: status = 404: expected a success",
        ),
        (
            &endpoint("sql = \"select 1\"\nauth = \"basic\""),
            "5: auth = \"basic\": expected `jwt` or `none`",
        ),
        (
            &endpoint("sql = \"select 1\"\nbody_strings = [\"a\"]"),
            "5: body_strings = \"a\": the sql does not use `:body.a`",
        ),
        (
            &endpoint("sql = \"select 1\"").repeat(2),
            "7: path = \"/x\": the same method and path are already used at",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let line = refusal(start()).await;
        let expected = format!("{}:{expected}", path.display());
        assert!(line.starts_with(&expected), "{line}\nexpected {expected}");
    }
}

#[tokio::test]
async fn a_statement_that_does_not_prepare_is_named_while_a_database_is_up() {
    let mut cluster = Cluster::start(0).await.unwrap();
    let line = refusal(gateway_of(&cluster)).await;
    let expected = "sql: GET /public/rates cannot be prepared: relation \"rates\" does not exist; \
                    has `tidegate migrate` been run?";
    assert!(
        line.starts_with("built-in:") && line.ends_with(expected),
        "{line}"
    );
    let file = "[[endpoint]]\nmethod = \"GET\"\npath = \"/x\"\nsql = \"select missing\"\n";
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, file).unwrap();
    let with_file = || gateway_of(&cluster).env("TIDEGATE_CONFIG", &path);
    let line = refusal(with_file()).await;
    let expected = "sql: GET /x cannot be prepared: column \"missing\" does not exist";
    assert_eq!(line, format!("{}:4: {expected}", path.display()));
    cluster.primary.kill().await.unwrap();
    let with_file = gateway_of(&cluster).env("TIDEGATE_CONFIG", &path);
    let gateway = with_file.start().await.unwrap();
    assert!(gateway.log().contains("no database is up"));
}

#[tokio::test]
async fn rate_limits_and_trusted_proxies_are_shown() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    let file = "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"2001:db8::1\"]\n\
                [[policy]]\npath = \"/public/*\"\nrate_limit = \"600/min; burst=50\"\n";
    std::fs::write(&path, file).unwrap();
    let text = printed(complete("check").env("TIDEGATE_CONFIG", &path)).await;
    assert!(
        text.contains("\nTRUSTED PROXIES\n10.0.0.0/8\n2001:db8::1/128\n"),
        "{text}"
    );
    assert!(
        text.contains(" no-store, private; 600/min;burst=50 per client\n"),
        "{text}"
    );
    let explain = tidegate("explain").arg("GET").arg("/public/rates");
    let text = printed(explain.env("TIDEGATE_CONFIG", &path)).await;
    assert!(
        text.contains("\nrate-limit    600/min;burst=50 per client\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_state_dir_that_cannot_be_written_is_warned_of() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    for (name, warning) in [
        ("", ""),
        (
            "missing",
            " (warning: it cannot be written: No such file or directory (os error 2))",
        ),
        (
            "gateway.toml",
            " (warning: it cannot be written: not a directory)",
        ),
    ] {
        let state_dir = directory.path().join(name);
        let file = format!("[fleet]\nstate_dir = '{}'\n", state_dir.display());
        std::fs::write(&path, file).unwrap();
        let text = printed(complete("check").env("TIDEGATE_CONFIG", &path)).await;
        let expected = format!("\nSTATE DIRECTORY\n{}{warning}\n", state_dir.display());
        assert!(text.contains(&expected), "{expected}\n{text}");
    }
}

#[tokio::test]
async fn flags_win_over_variables_over_the_file_over_defaults() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    let file = "region = \"eu-west-1\"\ndatabase_url = \"postgres://file:${PASSWORD}@file/db\"\n\
                read_replica_url = \"postgres://file:${PASSWORD}@replica/db\"\n\
                [topology]\nprimary_region = \"us-east-1\"\n\
                [[topology.replica]]\nregion = \"ap-southeast-1\"\nurl = \"postgres://ap:${PASSWORD}@ap/db\"\n";
    std::fs::write(&path, file).unwrap();
    let check = || {
        tidegate("check")
            .env("TIDEGATE_CONFIG", &path)
            .env("PASSWORD", PASSWORD)
    };
    let text = printed(check()).await;
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(text.starts_with("region    eu-west-1\n"), "{text}");
    for line in [
        "replica   eu-west-1        postgresql://file:***@replica:5432/db?sslmode=prefer",
        "replica   ap-southeast-1   postgresql://ap:***@ap:5432/db?sslmode=prefer",
        "primary   us-east-1        postgresql://file:***@file:5432/db?sslmode=prefer",
        // The built-in tables, since the file lists none.
        "/public/*                    eventual                     public, max-age=300, stale-while-revalidate=60",
        "/api/v1/transfer*            strong                       no-store, private",
        "any other                    strong                       no-store, private",
        "warning: no node answers, so statements, settings and roles are not checked",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    let transfers = text
        .lines()
        .find(|line| line.starts_with("POST   /api/v1/transfers "));
    assert!(
        transfers.is_some_and(|line| line.contains(" jwt ") && line.contains("built-in:")),
        "{text}"
    );

    let variables = || {
        let command = check().env("REGION", "ap-southeast-1");
        command.env("DATABASE_URL", "postgres://variable:hunter2@variable/db")
    };
    let text = printed(variables()).await;
    assert!(text.starts_with("region    ap-southeast-1\n"), "{text}");
    assert!(text.contains("//variable:***@variable:5432/db"), "{text}");
    // The variable's replica is this region's, in place of the one that the file lists.
    assert!(
        text.contains("replica   ap-southeast-1   postgresql://file:***@replica"),
        "{text}"
    );
    assert!(!text.contains("@ap:"), "{text}");

    let flags = variables().arg("--region").arg("us-east-1");
    let flags = flags
        .arg("--database-url")
        .arg("postgres://flag:hunter2@flag/db");
    let flags = flags
        .arg("--read-replica-url")
        .arg("postgres://flag:hunter2@near/db");
    let text = printed(flags).await;
    assert!(text.starts_with("region    us-east-1\n"), "{text}");
    assert!(
        text.contains("primary   us-east-1        postgresql://flag:***@flag:5432/db"),
        "{text}"
    );
    assert!(
        text.contains("replica   us-east-1        postgresql://flag:***@near:5432/db"),
        "{text}"
    );
    assert!(!text.contains(PASSWORD), "{text}");
    let elsewhere = complete("check")
        .env("TIDEGATE_CONFIG", "/nowhere")
        .arg("--config")
        .arg(&path);
    printed(elsewhere.env("PASSWORD", PASSWORD)).await;
    refusal(complete("check").env("REGION", "")).await;
}
