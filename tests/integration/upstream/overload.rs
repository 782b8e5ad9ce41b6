//! Requests to upstreams are requests in flight like all others.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use http::Method;
use tidegate::testkit::until;
use tokio::sync::watch;

use super::kit::{App, Edge};
use crate::world::{DEADLINE, header, problem};

#[tokio::test]
async fn requests_that_wait_for_an_application_count_and_answers_under_way_do_not() {
    let (release, held) = watch::channel(false);
    let held = move || {
        let mut held = held.clone();
        async move {
            held.wait_for(|released| *released)
                .await
                .is_ok()
                .to_string()
        }
    };
    let begun = || async {
        let pieces = stream::iter([Ok::<_, Infallible>("begun")]).chain(stream::pending());
        Body::from_stream(pieces)
    };
    let app = Router::new()
        .route("/app/held", get(held))
        .route("/app/begun", get(begun));
    let app = App::serve(app).await;
    let edge = Edge::before(&app, "[server]\nrequests_max = 2\n").await;
    let begun = [edge.get("/app/begun").await, edge.get("/app/begun").await];

    let held = || tokio::spawn(edge.request(Method::GET, "/app/held").send());
    let waiting = [held(), held()];
    until("both wait for the application", DEADLINE, async || {
        Ok((app.asked().len() == 4).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(edge.metric("tidegate_requests_in_flight").await, 2.0);
    let refused = edge.get("/app/held").await;
    assert_eq!(header(&refused, "retry-after"), "1");
    problem(refused, 503, "overloaded").await;
    assert_eq!(app.asked().len(), 4, "a refused request was handed on");
    let sheds = edge.metric("tidegate_sheds_total{reason=\"requests-max\"}");
    assert_eq!(sheds.await, 1.0);

    release.send(true).unwrap();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(edge.get("/app/held").await.status(), 200);
    drop(begun);
}
