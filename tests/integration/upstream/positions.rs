//! An application's clients read their own writes: it states its position, or the primary is asked for it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use reqwest::Method;
use tidegate::testkit::{Cluster, until};
use tidegate_model::{Lsn, TokenKeys, WalPosition};
use tokio::time::Instant;
use tokio_postgres::Client;

use super::kit::{App, endpoint};
use crate::world::{DEADLINE, TOKEN_SECRET, World, configured, gateway_of, header, told};

const POLICY: &str = "[[policy]]\npath = \"/*\"\nconsistency = \"eventual\"\nsession_cookie = true\n\
                      [consistency]\nsession_wait = \"5s\"\n";

const ASKED: &str = "tidegate_upstream_positions_total{result=\"asked\"}";
const STATED: &str = "tidegate_upstream_positions_total{result=\"stated\"}";
const MISSED: &str = "tidegate_upstream_positions_total{result=\"missed\"}";

/// The connections that have prepared the question for a position: of the pools, and that for applications.
const QUESTIONS: &str = "select count(*)::text from pg_stat_activity where pid <> pg_backend_pid() \
                         and application_name like 'tidegate/%' and query like '%standby offset 0) node'";

/// An application that writes and reads one number, and knows nothing of positions. It answers with the
/// status and the fields that the request names.
struct Numbers {
    app: App,
}

struct Databases {
    primary: Client,
    replica: Client,
}

impl Numbers {
    async fn start(cluster: &Cluster) -> Self {
        let schema = "create table numbers (number bigint)";
        cluster.primary.execute(schema).await.unwrap();
        cluster.wait_for_replicas().await.unwrap();
        let databases = Databases {
            primary: cluster.primary.client().await.unwrap(),
            replica: cluster.replicas[0].client().await.unwrap(),
        };
        let router = Router::new()
            .fallback(serve)
            .with_state(Arc::new(databases));
        let app = App::serve(router).await;
        Self { app }
    }
}

async fn serve(State(databases): State<Arc<Databases>>, request: Request) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    drop(request);
    let field = |name: &str| {
        let value = headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let Databases { primary, replica } = &*databases;
    let is_write = method == Method::POST;
    let read = match field("x-database-role").as_deref() {
        _ if is_write => {
            let sql = "insert into numbers select count(*) + 1 from numbers returning number";
            primary.query_one(sql, &[]).await.unwrap()
        }
        Some("replica") => replica
            .query_one("select count(*) from numbers", &[])
            .await
            .unwrap(),
        _ => primary
            .query_one("select count(*) from numbers", &[])
            .await
            .unwrap(),
    };
    let number: i64 = read.get(0);
    let mut response = Response::new(Body::from(number.to_string()));
    if let Some(status) = field("x-status") {
        *response.status_mut() = status.parse().unwrap();
    }
    for (name, wanted) in [
        ("x-database-position", "x-position"),
        ("content-type", "x-type"),
    ] {
        for value in headers.get_all(wanted) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// A gateway before the application, with `position` as given, and a cluster with a replica.
async fn world(position: &str) -> (World, Numbers) {
    let cluster = Cluster::start(1).await.unwrap();
    let numbers = Numbers::start(&cluster).await;
    let url = numbers.app.url();
    let file = format!("{POLICY}{}{position}\n", endpoint("*", "/{*rest}", &url));
    let gateway = configured(&cluster, gateway_of(&cluster), &file);
    let world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    (world, numbers)
}

impl World {
    async fn posts(&self, fields: &[(&str, &str)]) -> reqwest::Response {
        self.sends(Method::POST, fields).await
    }

    async fn sends(&self, method: Method, fields: &[(&str, &str)]) -> reqwest::Response {
        let request = self.request(method, "/numbers");
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.send().await.unwrap()
    }

    async fn insert_lsn(&self) -> Lsn {
        let lsn = "select pg_current_wal_insert_lsn()::text";
        let lsn = self.cluster.primary.value(lsn).await.unwrap();
        lsn.unwrap().parse().unwrap()
    }

    async fn count(&self, series: &str) -> f64 {
        self.metric_turns(series, |_| true).await
    }
}

fn seen(response: &reqwest::Response) -> Option<WalPosition> {
    let token = Some(header(response, "x-consistency-token")).filter(|it| !it.is_empty())?;
    let cookie = header(response, "set-cookie");
    assert!(cookie.contains(token), "{cookie}");
    let keys = TokenKeys::parse(TOKEN_SECRET).unwrap();
    Some(keys.verify(token).unwrap())
}

#[tokio::test]
async fn a_write_through_an_unmodified_application_is_read_on_the_replica_or_waited_for() {
    let (world, numbers) = world("position = \"ask\"").await;
    for number in 1..=20 {
        let before = world.insert_lsn().await;
        let written = world.posts(&[]).await;
        assert!(seen(&written).unwrap().lsn > before);
        let token = header(&written, "x-consistency-token").to_owned();
        let read = world
            .get_with("/numbers", "X-Consistency-Token", &token)
            .await;
        assert_eq!(numbers.app.last().field("x-database-role"), "replica");
        assert_eq!(read.text().await.unwrap(), number.to_string());
    }
    assert_eq!(world.count(ASKED).await, 20.0);
    // Samples are much rarer than these reads.
    let waits = world.count("tidegate_session_wait_seconds_count").await;
    assert!(waits >= 5.0, "{waits}");
}

#[tokio::test]
async fn a_replica_that_stays_behind_is_not_read_from() {
    let cluster = Cluster::start(1).await.unwrap();
    let numbers = Numbers::start(&cluster).await;
    let file = format!(
        "{}{}position = \"ask\"\n",
        POLICY.replace("5s", "50ms"),
        endpoint("*", "/{*rest}", &numbers.app.url())
    );
    let gateway = configured(&cluster, gateway_of(&cluster), &file);
    let world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    world.cluster.replicas[0].pause_replay().await.unwrap();
    let written = world.posts(&[]).await;
    let token = header(&written, "x-consistency-token").to_owned();
    let read = world
        .get_with("/numbers", "X-Consistency-Token", &token)
        .await;
    assert_eq!(numbers.app.last().field("x-database-role"), "primary");
    assert_eq!(read.text().await.unwrap(), "1");
}

#[tokio::test]
async fn errors_safe_methods_and_grpc_ask_nothing() {
    let (world, _numbers) = world("position = \"ask\"").await;
    for status in ["400", "404", "409", "500", "503"] {
        let answer = world.posts(&[("x-status", status)]).await;
        assert_eq!((answer.status().as_str(), seen(&answer)), (status, None));
        assert_eq!(told(&answer, "position"), "");
    }
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert_eq!(seen(&world.sends(method, &[]).await), None);
    }
    for kind in ["application/grpc", "application/grpc-web+proto"] {
        assert_eq!(
            seen(&world.posts(&[("x-type", kind)]).await),
            None,
            "{kind}"
        );
        assert_eq!(
            seen(&world.posts(&[("content-type", kind)]).await),
            None,
            "{kind}"
        );
    }
    assert_eq!(
        (world.count(ASKED).await, world.count(MISSED).await),
        (0.0, 0.0)
    );
    for status in ["200", "201", "204", "303"] {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let request = client.build().unwrap().post(world.gateway.url("/numbers"));
        let answer = request.header("x-status", status).send().await.unwrap();
        assert_eq!(answer.status().as_str(), status);
        assert!(seen(&answer).is_some(), "{status}");
    }
    assert_eq!(world.count(ASKED).await, 4.0);
}

#[tokio::test]
async fn one_connection_serves_all_questions_and_stated_positions_need_none() {
    let (world, _numbers) = world("position = \"ask\"").await;
    let stated = world.posts(&[("x-position", "0/16B3748")]).await;
    assert_eq!(seen(&stated).unwrap().lsn, Lsn(0x16B_3748));
    let questions = async || -> usize {
        let count = world.cluster.primary.value(QUESTIONS).await.unwrap();
        count.unwrap().parse().unwrap()
    };
    let before = questions().await;
    assert_eq!(
        (world.count(STATED).await, world.count(ASKED).await),
        (1.0, 0.0)
    );

    let writes = join_all((0..40).map(|_| world.posts(&[]))).await;
    assert!(writes.iter().all(|write| seen(write).is_some()));
    assert_eq!(questions().await, before + 1);
    assert_eq!(world.count(ASKED).await, 40.0);
}

#[tokio::test]
async fn a_stated_position_becomes_the_token_and_never_reaches_the_client() {
    let (world, _numbers) = world("").await;
    for method in [Method::POST, Method::GET] {
        let answer = world.sends(method, &[("x-position", "0/16B3748")]).await;
        assert_eq!(header(&answer, "x-database-position"), "");
        let seen = seen(&answer).unwrap();
        assert_eq!(seen.lsn, Lsn(0x16B_3748));
        assert_eq!(seen.timeline.0, 1);
    }
    for malformed in ["0", "0/", "x/1", "0/1, 0/1", "'", "0/-1", "1/123456789"] {
        let answer = world.posts(&[("x-position", malformed)]).await;
        assert_eq!(header(&answer, "x-database-position"), "", "{malformed}");
        assert_eq!(seen(&answer), None, "{malformed}");
        assert_eq!(
            (answer.status().as_u16(), told(&answer, "position")),
            (200, "")
        );
    }
    let twice = [("x-position", "0/1"), ("x-position", "0/2")];
    assert_eq!(seen(&world.posts(&twice).await), None);
    // What the client has seen is newer.
    let write = world.posts(&[("x-position", "0/FFFF")]).await;
    let newer = header(&write, "x-consistency-token");
    let older = [("x-position", "0/1"), ("x-consistency-token", newer)];
    assert_eq!(seen(&world.posts(&older).await).unwrap().lsn, Lsn(0xFFFF));
    // Without a question: the default asks nothing.
    assert_eq!(seen(&world.posts(&[]).await), None);
    assert_eq!(
        (world.count(ASKED).await, world.count(MISSED).await),
        (0.0, 0.0)
    );
}

#[tokio::test]
async fn none_turns_both_off() {
    let (world, _numbers) = world("position = \"none\"").await;
    let answer = world.posts(&[("x-position", "0/16B3748")]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "x-database-position"), "");
    assert_eq!((seen(&answer), told(&answer, "position")), (None, ""));
}

#[tokio::test]
async fn an_unsafe_request_goes_on_while_the_primary_is_gone_or_silent() {
    let app = App::answering(201, "written").await;
    let cluster = Cluster::start(1).await.unwrap();
    let file = format!(
        "{POLICY}[replication]\nsample_timeout = \"300ms\"\n{}position = \"ask\"\n",
        endpoint("*", "/{*rest}", &app.url())
    );
    let gateway = configured(&cluster, gateway_of(&cluster), &file);
    let mut world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    let first = world.posts(&[]).await;
    let token = header(&first, "x-consistency-token").to_owned();
    assert!(seen(&first).is_some());

    let missed = async |world: &World| {
        let started = Instant::now();
        let answer = world.posts(&[("x-consistency-token", &token)]).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_eq!((seen(&answer), told(&answer, "position")), (None, "missed"));
        assert_eq!(header(&answer, "set-cookie"), "");
        assert_eq!(answer.text().await.unwrap(), "written");
        started.elapsed()
    };
    world.cluster.primary.freeze().unwrap();
    let took = missed(&world).await;
    assert!(took >= Duration::from_millis(250), "{took:?}");
    world.cluster.primary.thaw();
    until("positions are there again", DEADLINE, async || {
        Ok(seen(&world.posts(&[]).await).is_some().then_some(()))
    })
    .await
    .unwrap();

    world.cluster.primary.kill().await.unwrap();
    missed(&world).await;
    assert!(world.count(MISSED).await >= 2.0);
    assert_eq!(app.last().method, Method::POST);
}

#[tokio::test]
async fn a_stated_position_makes_no_token_while_the_primary_cannot_be_reached() {
    let answer = || async {
        (
            StatusCode::CREATED,
            [("x-database-position", "0/7")],
            "written",
        )
    };
    let app = App::serve(Router::new().fallback(answer)).await;
    let cluster = Cluster::start(1).await.unwrap();
    let file = format!("{POLICY}{}", endpoint("*", "/{*rest}", &app.url()));
    let gateway = configured(&cluster, gateway_of(&cluster), &file);
    let mut world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    assert!(seen(&world.posts(&[]).await).is_some());

    world.cluster.primary.kill().await.unwrap();
    let refused = async || {
        let answer = world.posts(&[]).await;
        // The write is answered in any case.
        assert_eq!(answer.status(), StatusCode::CREATED);
        let is_missed = (seen(&answer), told(&answer, "position")) == (None, "missed");
        Ok(is_missed.then_some(()))
    };
    until("a position makes no token", DEADLINE, refused)
        .await
        .unwrap();
    assert!(world.count(MISSED).await >= 1.0);
}
