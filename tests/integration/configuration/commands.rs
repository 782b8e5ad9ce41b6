//! What the other subcommands print and refuse.

use tidegate::testkit::Cluster;

use super::{PASSWORD, URL, refusal, tidegate};
use crate::world::{JWT_SECRET, TOKEN_SECRET, migrate, printed};

async fn explain(arguments: &[&str]) -> String {
    let command = tidegate("explain").env("TOKEN_SECRET", TOKEN_SECRET);
    let command = arguments
        .iter()
        .fold(command, |command, argument| command.arg(argument));
    printed(command).await
}

fn holds(text: &str, label: &str, value: &str) {
    let line = format!("{label:<13} {value}");
    assert!(
        text.lines().any(|known| known.starts_with(&line)),
        "{line}\n{text}"
    );
}

#[tokio::test]
async fn explain_tells_the_decision_and_why() {
    let text = explain(&["GET", "/api/v1/rates/USD/NGN"]).await;
    holds(
        &text,
        "endpoint",
        "GET /api/v1/rates/{base}/{quote} (built-in:",
    );
    holds(&text, "policy", "/api/v1/rates/*: at least eventual");
    holds(&text, "level", "eventual");
    holds(
        &text,
        "nodes",
        "the nearest replica, then other replicas, then the primary",
    );
    holds(
        &text,
        "cache-control",
        "public, max-age=300, stale-while-revalidate=60",
    );
    let text = explain(&[
        "GET",
        "/public/rates?x=1",
        "-H",
        "x-consistency: Bounded;max-staleness=2",
    ])
    .await;
    holds(&text, "level", "bounded;max-staleness=2");
    holds(
        &text,
        "nodes",
        "the nearest replica proven to be within the bound",
    );
    holds(&text, "cache-control", "no-store, private");
    let text = explain(&["GET", "/account/kyc", "-H", "X-Consistency: eventual"]).await;
    holds(&text, "level", "strong");
    let text = explain(&["POST", "/api/v1/transfers"]).await;
    holds(&text, "nodes", "the primary: it may write");
    let text = explain(&["GET", "/health/edge"]).await;
    holds(&text, "answer", "from memory");
    for (arguments, problem) in [
        (&["GET", "/public//rates"][..], "invalid-path"),
        (&["GET", "/public/%2e%2e/account"], "invalid-path"),
        (&["GET", "/nothing"], "not-found"),
        (&["DELETE", "/public/rates"], "method-not-allowed"),
        (
            &["GET", "/public/rates", "-H", "X-Consistency: weak"],
            "invalid-consistency",
        ),
        (
            &["GET", "/public/rates", "-H", "X-Consistency-Token: x"],
            "invalid-token",
        ),
    ] {
        let text = explain(arguments).await;
        holds(&text, "answer", &format!("{problem} problem: "));
    }
    for bad in [
        &["G T", "/x"][..],
        &["GET", "/a b"],
        &["GET", "/x", "-H", "no colon"],
    ] {
        let command = bad.iter().fold(tidegate("explain"), |command, argument| {
            command.arg(argument)
        });
        refusal(command).await;
    }
}

#[tokio::test]
async fn explain_tells_what_the_response_cache_may_do() {
    let text = explain(&["GET", "/public/rates"]).await;
    let kept = "up to an age of 300 s, the node's staleness included; then 60 s while it is \
                renewed, 0 s if no node can answer";
    holds(&text, "cache", kept);
    for (path, header, why) in [
        (
            "/public/rates",
            "X-Consistency: eventual",
            "a level or a token is stated",
        ),
        (
            "/public/rates",
            "Authorization: Bearer x",
            "it carries Authorization",
        ),
        (
            "/public/rates",
            "Cookie: __Host-tidegate-session=x",
            "it carries a session cookie",
        ),
        (
            "/account/kyc",
            "Accept: */*",
            "only a GET whose policy row is public",
        ),
    ] {
        let text = explain(&["GET", path, "-H", header]).await;
        holds(&text, "cache", &format!("not for this request: {why}"));
    }
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, "[cache]\nbytes_max = 0").unwrap();
    let off = tidegate("explain").env("TIDEGATE_CONFIG", file);
    let text = printed(off.arg("GET").arg("/public/rates")).await;
    holds(&text, "cache", "off: bytes_max is 0");
}

#[tokio::test]
async fn migrate_changes_nothing_twice_and_refuses_a_schema_it_did_not_write() {
    let cluster = Cluster::start(0).await.unwrap();
    tokio::join!(migrate(&cluster), migrate(&cluster));
    let state = "select (select count(*) from entries) || ' ' || (select count(*) from accounts) \
                 || ' ' || (select string_agg(version::text, ',' order by version) from _sqlx_migrations)";
    let before = cluster.primary.value(state).await.unwrap().unwrap();
    assert!(before.ends_with(" 20 1,2,3,4,5"), "{before}");
    migrate(&cluster).await;
    assert_eq!(cluster.primary.value(state).await.unwrap().unwrap(), before);

    let forge = "update _sqlx_migrations set checksum = '\\x00' where version = 2";
    cluster.primary.execute(forge).await.unwrap();
    let command = tidegate("migrate").env("DATABASE_URL", cluster.primary.url());
    let output = command.output().await.unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains("migration 2 was previously applied but has been modified"),
        "{line}"
    );
    assert!(
        !line.contains("keep-me-out-of-logs") && line.contains(":***@"),
        "{line}"
    );

    let line = refusal(tidegate("migrate")).await;
    assert!(line.starts_with("DATABASE_URL: is required"), "{line}");
    let line = refusal(tidegate("migrate").env("DATABASE_URL", "app:hunter2@db")).await;
    assert!(line.starts_with("DATABASE_URL = \"…\": "), "{line}");
    let down = tidegate("migrate")
        .arg("--database-url")
        .arg(URL)
        .output()
        .await
        .unwrap();
    let line = String::from_utf8(down.stderr).unwrap();
    assert_eq!(
        (down.status.code(), line.lines().count()),
        (Some(1), 1),
        "{line}"
    );
    assert!(!line.contains(PASSWORD), "{line}");
}

#[tokio::test]
async fn migrate_names_a_missing_database_and_no_line_of_the_server_s_source() {
    let cluster = Cluster::start(0).await.unwrap();
    let url = cluster.primary.url();
    let (server, _) = url.rsplit_once('/').unwrap();
    let command = tidegate("migrate").env("DATABASE_URL", format!("{server}/nowhere"));
    let output = command.arg("--only").arg("traffic").output().await.unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    let expected = "database \"nowhere\" does not exist";
    assert_eq!(line.trim_end().rsplit_once(": ").unwrap().1, expected);
}

#[tokio::test]
async fn token_mints_what_the_variables_ask_for() {
    let token = |secret: &str| {
        tidegate("token")
            .arg("--sub")
            .arg("alice")
            .env("AUTH_JWT_SECRET", secret)
    };
    let minted = printed(
        token(JWT_SECRET)
            .env("AUTH_JWT_AUDIENCE", "tidegate")
            .arg("--ttl")
            .arg("2h"),
    )
    .await;
    assert_eq!(minted.lines().count(), 1);
    assert_eq!(minted.split('.').count(), 3);
    assert!(
        refusal(token("short-secret"))
            .await
            .starts_with("AUTH_JWT_SECRET: ")
    );
    let bare = tidegate("token").arg("--sub").arg("alice");
    assert!(
        refusal(bare)
            .await
            .starts_with("AUTH_JWT_SECRET: is required")
    );
}

#[tokio::test]
async fn upstreams_are_shown_with_their_nodes_and_explained() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    let file = r#"
[[policy]]
path = "/app/*"
consistency = "eventual"
cache_control = "public, max-age=60"
[[endpoint]]
method = "*"
path = "/app/{*rest}"
upstream = "app"
[[endpoint]]
method = "GET"
path = "/other"
upstream = "${OTHER_URL}"
position = "ask"
[[endpoint]]
method = "GET"
path = "/list"
page = { column = "id", default = 5 }
sql = "select 1 as id where :query.after::text is null limit :query.limit"
[[upstream]]
name = "app"
nodes = [{ region = "us-east-1", url = "http://far:3000/" }, { region = "eu-west-1", url = "http://near:3000" }]
check = { path = "/healthz" }
"#;
    std::fs::write(&path, file).unwrap();
    let with_file = |subcommand| {
        let command = tidegate(subcommand).env("TIDEGATE_CONFIG", &path);
        command
            .env("OTHER_URL", "https://other")
            .env("REGION", "eu-west-1")
    };
    let text = printed(with_file("check").env("DATABASE_URL", URL)).await;
    for line in [
        "app              eu-west-1        http://near:3000; GET /healthz every 2s",
        "app              us-east-1        http://far:3000; GET /healthz every 2s",
        "https://other                     https://other",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert!(text.contains("gateway.toml:7 -> app\n"), "{text}");
    for shown in [
        "gateway.toml:11 -> https://other, position: ask\n",
        "gateway.toml:16; pages of 5 to 100 rows by id\n",
    ] {
        assert!(text.contains(shown), "{shown}\n{text}");
    }
    let explain = |more: &[&str]| {
        let command = with_file("explain").arg("GET").arg("/app/x");
        more.iter()
            .fold(command, |command, argument| command.arg(argument))
    };
    let text = printed(explain(&[])).await;
    holds(&text, "endpoint", "* /app/{*rest} (");
    holds(&text, "upstream", "eu-west-1 http://near:3000");
    holds(&text, "cache-control", "public, max-age=60");
    holds(&text, "position", "header");
    let text = printed(explain(&["-H", "Authorization: Bearer x"])).await;
    holds(&text, "cache-control", "no-store, private");
    let text = printed(with_file("explain").arg("GET").arg("/list")).await;
    holds(&text, "page", "pages of 5 to 100 rows by id");
}
