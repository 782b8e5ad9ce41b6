//! Every `sslmode` against a real server with a certificate for `localhost`.
//!
//! The certificates beside this file are valid from 2020 to 2120. `root.pem` signed `server.pem`
//! and `server_v1.pem`, which has the same key but is X.509 v1, as PostgreSQL's manual makes them
//! with older versions of OpenSSL. The key protects nothing.

use std::time::Duration;

use tidegate::postgres::{ConnectError, Server, Session, connect};
use tidegate::testkit::{Cluster, PostgresServer};

use crate::world::{client, configured, gateway_of, problem, wait_ready};

const DEADLINE: Duration = Duration::from_secs(30);
const SERVER: &str = include_str!("server.pem");
const SERVER_V1: &str = include_str!("server_v1.pem");
const KEY: &str = include_str!("server_key.pem");

async fn cluster_with(certificate: &str) -> Cluster {
    let cluster = Cluster::start(0).await.unwrap();
    let primary = &cluster.primary;
    for (file, text) in [("server.crt", certificate), ("server.key", KEY)] {
        let lines = format!("select regexp_split_to_table('{text}', '\\n')");
        let sql = format!("copy ({lines}) to program 'umask 077; cat > {file}'");
        primary.execute(&sql).await.unwrap();
    }
    primary.set("ssl", "on").await.unwrap();
    primary
        .wait_until("current_setting('ssl')::boolean")
        .await
        .unwrap();
    cluster
}

/// A URL by which certificates can be checked: the name resolves only to 127.0.0.1.
fn url(server: &PostgresServer, host: &str, query: &str) -> String {
    let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/tls");
    let query = query.replace("{roots}", roots);
    let port = server.port();
    format!("postgres://tidegate@{host}:{port}/postgres?hostaddr=127.0.0.1&{query}")
}

/// Connects and returns whether the connection is encrypted.
async fn is_encrypted(url: &str) -> Result<bool, ConnectError> {
    let server: Server = url.parse().unwrap();
    let session = Session {
        application_name: "tidegate/test".to_owned(),
        statement_timeout: DEADLINE,
    };
    let connection = connect(&server, &session, DEADLINE).await?;
    let question = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let row = connection.client.query_one(question, &[]).await?;
    Ok(row.get(0))
}

#[tokio::test]
async fn a_server_with_tls_is_used_as_each_mode_says() {
    let cluster = cluster_with(SERVER).await;
    let cases = [
        ("127.0.0.1", "sslmode=disable", false),
        ("127.0.0.1", "", true),
        ("127.0.0.1", "sslmode=allow", true),
        ("127.0.0.1", "sslmode=require", true),
        (
            "127.0.0.1",
            "sslmode=require&sslrootcert={roots}/root.pem",
            true,
        ),
        (
            "127.0.0.1",
            "sslmode=verify-ca&sslrootcert={roots}/root.pem",
            true,
        ),
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={roots}/root.pem",
            true,
        ),
    ];
    for (host, query, encrypted) in cases {
        let answer = is_encrypted(&url(&cluster.primary, host, query)).await;
        assert_eq!(answer.unwrap(), encrypted, "{host} {query}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_is_refused() {
    let cluster = cluster_with(SERVER).await;
    let cases = [
        (
            "localhost",
            "sslmode=require&sslrootcert={roots}/other_root.pem",
        ),
        (
            "localhost",
            "sslmode=verify-ca&sslrootcert={roots}/other_root.pem",
        ),
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={roots}/other_root.pem",
        ),
        (
            "127.0.0.1",
            "sslmode=verify-full&sslrootcert={roots}/root.pem",
        ),
        (
            "db.example",
            "sslmode=verify-full&sslrootcert={roots}/root.pem",
        ),
    ];
    for (host, query) in cases {
        let error = is_encrypted(&url(&cluster.primary, host, query))
            .await
            .unwrap_err();
        let message = error.to_string();
        assert!(message.contains("certificate"), "{host} {query}: {message}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_used_only_where_the_mode_allows() {
    let cluster = Cluster::start(0).await.unwrap();
    for query in ["sslmode=disable", "sslmode=allow", "sslmode=prefer"] {
        let answer = is_encrypted(&url(&cluster.primary, "localhost", query)).await;
        assert!(!answer.unwrap(), "{query}");
    }
    for query in [
        "sslmode=require",
        "sslmode=verify-full&sslrootcert={roots}/root.pem",
    ] {
        let answer = is_encrypted(&url(&cluster.primary, "localhost", query)).await;
        assert!(answer.is_err(), "{query}");
    }
}

#[tokio::test]
async fn an_old_certificate_serves_where_it_is_not_checked() {
    let cluster = cluster_with(SERVER_V1).await;
    let required = url(&cluster.primary, "localhost", "sslmode=require");
    assert!(is_encrypted(&required).await.unwrap());
    let checked = "sslmode=verify-ca&sslrootcert={roots}/root.pem";
    assert!(
        is_encrypted(&url(&cluster.primary, "localhost", checked))
            .await
            .is_err()
    );
}

/// Pool and monitor, not one connection.
#[tokio::test]
async fn a_gateway_serves_over_the_tls_its_url_asks_for_or_not_at_all() {
    const FILE: &str = "
        [[endpoint]]
        method = \"GET\"
        path = \"/tls\"
        sql = \"select ssl from pg_stat_ssl where pid = pg_backend_pid()\"
    ";
    let cluster = cluster_with(SERVER).await;
    let start = async |query: &str| {
        let url = url(&cluster.primary, "localhost", query);
        let gateway = gateway_of(&cluster).env("DATABASE_URL", url);
        configured(&cluster, gateway, FILE).start().await.unwrap()
    };
    let good = start("sslmode=verify-full&sslrootcert={roots}/root.pem").await;
    wait_ready(&client(), &good).await;
    let answer = client().get(good.url("/tls")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), r#"[{"ssl":true}]"#);
    let encrypted = "(select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) \
        where application_name like 'tidegate/%')";
    cluster.primary.wait_until(encrypted).await.unwrap();

    let bad = start("sslmode=verify-full&sslrootcert={roots}/other_root.pem").await;
    let answer = client().get(bad.url("/tls")).send().await.unwrap();
    problem(answer, 503, "no-primary").await;
    bad.wait_for_log("certificate").await.unwrap();
    let ready = client().get(bad.admin_url("/readyz")).send().await;
    assert_eq!(ready.unwrap().status(), 503);
}
