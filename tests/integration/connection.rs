//! One connection to a real server: the settings of its session, and how its end is noticed.

use std::time::Duration;

use tidegate::postgres::{Server, Session, connect};
use tidegate::testkit::Cluster;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_session_is_read_only_in_utc_and_knows_its_server() {
    let mut cluster = Cluster::start(0).await.unwrap();
    let server: Server = cluster.primary.url().parse().unwrap();
    let session = Session {
        application_name: "tidegate/test".to_owned(),
        statement_timeout: Duration::from_millis(1234),
    };
    let connection = connect(&server, &session, DEADLINE).await.unwrap();
    for (name, value) in [
        ("application_name", "tidegate/test"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "1234ms"),
        ("timezone", "UTC"),
    ] {
        let row = connection
            .client
            .query_one("select current_setting($1)", &[&name])
            .await;
        assert_eq!(row.unwrap().get::<_, String>(0), value, "{name}");
    }
    let before = connection.identity;
    assert_eq!(before.port, Some(i32::from(cluster.primary.port())));
    cluster.primary.restart().await.unwrap();
    let after = connect(&server, &session, DEADLINE).await.unwrap().identity;
    assert_eq!((before.address, before.port), (after.address, after.port));
    assert!(before.started_at_us < after.started_at_us);
}

#[tokio::test]
async fn the_end_of_a_connection_is_noticed() {
    let mut cluster = Cluster::start(0).await.unwrap();
    let server: Server = cluster.primary.url().parse().unwrap();
    let session = Session {
        application_name: "tidegate/test".to_owned(),
        statement_timeout: DEADLINE,
    };
    let mut connection = connect(&server, &session, DEADLINE).await.unwrap();
    cluster.primary.kill().await.unwrap();
    timeout(DEADLINE, connection.closed()).await.unwrap();
    connection.closed().await;
    assert!(connection.client.is_closed());
}

#[tokio::test]
async fn a_statement_that_was_given_up_does_not_run_on() {
    let cluster = Cluster::start(0).await.unwrap();
    let server: Server = cluster.primary.url().parse().unwrap();
    let session = Session {
        application_name: "tidegate/test".to_owned(),
        statement_timeout: 20 * DEADLINE,
    };
    let connection = connect(&server, &session, DEADLINE).await.unwrap();
    let sleeping =
        "from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'";
    let begun = format!("count(*) = 1 {sleeping}");
    tokio::select! {
        ended = connection.client.simple_query("select pg_sleep(600)") => panic!("{ended:?}"),
        begun = cluster.primary.wait_until(&begun) => begun.unwrap(),
    }
    drop(connection);
    let gone = format!("count(*) = 0 {sleeping}");
    cluster.primary.wait_until(&gone).await.unwrap();
}
