//! Every `sslmode` against a real server with a certificate for `localhost`.
//!
//! The certificates beside this file are valid from 2020 to 2120. `root.pem` signed `server.pem`
//! and `server_v1.pem`, which has the same key but is X.509 v1, as PostgreSQL's manual makes them
//! with older versions of OpenSSL. The key protects nothing.

use std::time::Duration;

use tidegate::postgres::{ConnectError, Server, Session, connect};
use tidegate::testkit::{Cluster, GatewayCommand, PostgresServer, until};

use crate::world::{BINARY, client, configured, gateway_of, problem, wait_ready};

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

/// A cluster whose server takes `encrypted` over TLS alone and `clear` without TLS alone.
async fn cluster_that_tells_ways_apart() -> Cluster {
    let cluster = cluster_with(SERVER).await;
    let primary = &cluster.primary;
    primary
        .execute("create role encrypted login password 'secret'; create role clear login")
        .await
        .unwrap();
    let rules = "hostssl all encrypted all scram-sha-256\nhostnossl all clear all trust\n\
                 host all tidegate all trust\nhost replication all all trust";
    let sql = format!(
        "copy (select regexp_split_to_table(E'{rules}', '\n')) to program 'cat > pg_hba.conf'; \
         select pg_reload_conf()"
    );
    primary.execute(&sql).await.unwrap();
    let read = "(select count(*) = 4 from pg_hba_file_rules)";
    primary.wait_until(read).await.unwrap();
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
        ("127.0.0.1", "sslmode=allow", false),
        ("127.0.0.1", "sslmode=prefer", true),
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
async fn prefer_and_allow_go_the_other_way_when_the_server_refuses_the_first() {
    let cluster = cluster_that_tells_ways_apart().await;
    let connect_as = async |user: &str, mode: &str| {
        let url = url(&cluster.primary, "localhost", mode);
        is_encrypted(&url.replace("tidegate@", &format!("{user}@"))).await
    };
    for mode in ["", "sslmode=prefer", "sslmode=allow"] {
        let encrypted = connect_as("encrypted:secret", mode).await;
        assert!(encrypted.unwrap(), "{mode}");
        assert!(!connect_as("clear", mode).await.unwrap(), "{mode}");
        // The server's word on the password, not that on the other way.
        let error = connect_as("encrypted:wrong", mode).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("password authentication"), "{mode}: {error}");
    }
    let error = connect_as("clear", "sslmode=require").await.unwrap_err();
    assert!(error.to_string().contains("pg_hba.conf"), "{error}");
    let disabled = connect_as("encrypted:secret", "sslmode=disable").await;
    assert!(disabled.is_err());
}

/// PostgreSQL's oldest version of TLS is one that rustls does not speak.
#[tokio::test]
async fn prefer_goes_on_in_clear_after_a_failed_handshake() {
    let cluster = cluster_with(SERVER).await;
    for bound in ["ssl_min_protocol_version", "ssl_max_protocol_version"] {
        cluster.primary.set(bound, "TLSv1.1").await.unwrap();
    }
    let url = |mode| url(&cluster.primary, "localhost", mode);
    let refused = async || Ok(is_encrypted(&url("sslmode=require")).await.err());
    let error = until("the handshake fails", DEADLINE, refused).await;
    assert!(error.unwrap().to_string().contains("TLS"));
    assert!(!is_encrypted(&url("sslmode=prefer")).await.unwrap());
}

/// Pool, monitor and `migrate`.
#[tokio::test]
async fn a_gateway_serves_where_the_server_takes_the_second_way_alone() {
    let cluster = cluster_that_tells_ways_apart().await;
    let grant = "grant create on database postgres to encrypted, clear; \
                 grant create on schema public to encrypted, clear";
    cluster.primary.execute(grant).await.unwrap();
    for (user, mode, encrypted) in [
        ("encrypted:secret", "sslmode=allow", "t"),
        ("clear", "sslmode=prefer&colour=red", "f"),
    ] {
        let url = url(&cluster.primary, "localhost", mode);
        let url = url.replace("tidegate@", &format!("{user}@"));
        let file = "[[endpoint]]\nmethod = 'GET'\npath = '/tls'\n\
                    sql = 'select ssl::text from pg_stat_ssl where pid = pg_backend_pid()'";
        let gateway = gateway_of(&cluster).env("DATABASE_URL", &url);
        let gateway = configured(&cluster, gateway, file).start().await.unwrap();
        wait_ready(&client(), &gateway).await;
        let answer = client().get(gateway.url("/tls")).send().await.unwrap();
        let answer = answer.text().await.unwrap();
        assert!(
            answer.contains(&format!("\"{encrypted}")),
            "{mode}: {answer}"
        );
        let migrated = GatewayCommand::new(BINARY, "migrate").env("DATABASE_URL", url);
        let output = migrated.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // The second finds the first one's tables, which it may not touch.
        let connected = output.status.success() || said.contains("permission denied for table");
        assert!(connected, "{said}");
        if mode.contains("colour") {
            assert!(
                said.contains("warning: ") && said.contains("`colour`"),
                "{said}"
            );
            gateway
                .wait_for_log("URL parameter `colour`")
                .await
                .unwrap();
        }
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
