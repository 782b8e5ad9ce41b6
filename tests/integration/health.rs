//! The probes over a real pair.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use tidegate::gateway::health::{HealthState, admin_routes, public_routes};
use tidegate::http::Drain;
use tidegate::postgres::monitor::{Monitor, MonitorSettings};
use tidegate::testkit::{Cluster, Shutdown, until};
use tidegate_model::NodeId;
use tower::ServiceExt;

const DEADLINE: Duration = Duration::from_secs(60);

/// The probes of a gateway that would serve `eu-west-1`.
struct Probes {
    routes: Router,
    drain: Drain,
}

impl Probes {
    fn start(cluster: &Cluster) -> Self {
        let region: tidegate_model::RegionId = "eu-west-1".parse().unwrap();
        let replica = NodeId::Replica(region.clone());
        let server = |url: String| Arc::new(url.parse().unwrap());
        let nodes = vec![
            (NodeId::Primary, server(cluster.primary.url())),
            (replica.clone(), server(cluster.replicas[0].url())),
        ];
        let max_lag = Duration::from_millis(500);
        let settings = MonitorSettings {
            application_name: "tidegate/eu-west-1".to_owned(),
            sample_interval: Duration::from_millis(50),
            sample_timeout: Duration::from_secs(1),
            max_lag,
            fail_after: 3,
            pass_after: 2,
        };
        let drain = Drain::new();
        let state = HealthState {
            region,
            replica: Some(replica),
            monitor: Arc::new(Monitor::start(nodes, settings)),
            nodes: Vec::new(),
            drain: drain.clone(),
            max_lag,
            suspects: None,
        };
        let routes = public_routes(state.clone()).merge(admin_routes(state));
        Self { routes, drain }
    }

    async fn ask(&self, method: Method, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        self.routes.clone().oneshot(request).await.unwrap()
    }

    async fn status(&self, path: &str) -> StatusCode {
        self.ask(Method::GET, path).await.status()
    }

    async fn edge(&self) -> (StatusCode, serde_json::Value) {
        let response = self.ask(Method::GET, "/health/edge").await;
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.len() < 1024);
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Waits until `/health/edge` has this status, and returns its body.
    async fn edge_is(&self, expected: StatusCode) -> serde_json::Value {
        let what = format!("/health/edge is {expected}");
        until(&what, DEADLINE, async || {
            let (status, body) = self.edge().await;
            Ok((status == expected).then_some(body))
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_region_is_unhealthy_while_its_replica_lags_or_is_down() {
    let mut cluster = Cluster::start(1).await.unwrap();
    let probes = Probes::start(&cluster);
    let body = probes.edge_is(StatusCode::OK).await;
    assert_eq!(
        (&body["status"], &body["region"]),
        (&"healthy".into(), &"eu-west-1".into())
    );
    assert_eq!(body["replication_lag_secs"], 0);

    cluster.replicas[0].pause_replay().await.unwrap();
    cluster.primary.execute("create table t ()").await.unwrap();
    let body = probes.edge_is(StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(
        body["replication_lag_secs"].as_f64().unwrap() >= 0.5,
        "{body}"
    );
    assert_eq!(body["checks"]["lag"]["ok"], false);

    cluster.replicas[0].resume_replay().await.unwrap();
    probes.edge_is(StatusCode::OK).await;

    cluster.replicas[0].stop(Shutdown::Immediate).await.unwrap();
    let body = probes.edge_is(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(body["replication_lag_secs"], serde_json::Value::Null);
    assert_eq!(body["checks"]["replica"]["condition"], "unreachable");
    assert_eq!(probes.status("/readyz").await, StatusCode::OK);
}

#[tokio::test]
async fn a_gateway_is_ready_once_a_node_answers() {
    let mut cluster = Cluster::start(1).await.unwrap();
    cluster.replicas[0].stop(Shutdown::Fast).await.unwrap();
    cluster.primary.stop(Shutdown::Fast).await.unwrap();
    let probes = Probes::start(&cluster);
    assert_eq!(
        probes.status("/readyz").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    for path in ["/livez", "/health/live"] {
        assert_eq!(probes.status(path).await, StatusCode::OK);
    }
    let body = probes.edge_is(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(body["replication_lag_secs"], serde_json::Value::Null);
    cluster.primary.start().await.unwrap();
    until("ready", DEADLINE, async || {
        Ok((probes.status("/readyz").await == StatusCode::OK).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_drain_fails_the_probes_that_move_traffic_and_no_other() {
    let cluster = Cluster::start(1).await.unwrap();
    let probes = Probes::start(&cluster);
    probes.edge_is(StatusCode::OK).await;
    probes.drain.begin();
    for path in ["/health/edge", "/readyz"] {
        assert_eq!(
            probes.status(path).await,
            StatusCode::SERVICE_UNAVAILABLE,
            "{path}"
        );
    }
    for path in ["/health/live", "/livez"] {
        assert_eq!(probes.status(path).await, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn probes_answer_head_and_no_other_method() {
    let cluster = Cluster::start(1).await.unwrap();
    let probes = Probes::start(&cluster);
    probes.edge_is(StatusCode::OK).await;
    for path in ["/health/edge", "/health/live", "/livez", "/readyz"] {
        let response = probes.ask(Method::HEAD, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty());
        let response = probes.ask(Method::POST, path).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}
