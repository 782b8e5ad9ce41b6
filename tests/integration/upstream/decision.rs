//! What an application learns about the database, and what it may state about it, with a real one.

use std::sync::{Arc, Mutex};

use axum::Router;
use reqwest::Method;
use tidegate::testkit::until;

use super::kit::{App, endpoint, upstream, with_fields};
use crate::world::{DEADLINE, World, header};

const POLICY: &str = "[[policy]]\npath = \"/app/*\"\nconsistency = \"eventual\"\nsession_cookie = true\n\
                      [[policy]]\npath = \"/app/public\"\nconsistency = \"eventual\"\n\
                      cache_control = \"public, max-age=60\"\n";

/// An application that answers with a token set by the test.
async fn app() -> (App, Arc<Mutex<String>>) {
    let token = Arc::new(Mutex::new(String::new()));
    let said = Arc::clone(&token);
    let answer = move || {
        let token = said.lock().unwrap().clone();
        async move {
            let mut response = with_fields(&[]);
            if !token.is_empty() {
                let headers = response.headers_mut();
                headers.insert("x-consistency-token", token.parse().unwrap());
            }
            response
        }
    };
    (App::serve(Router::new().fallback(answer)).await, token)
}

async fn world(app: &App) -> World {
    let url = app.url();
    let far = format!("{url}/far");
    let file = upstream(&[("eu-west-1", &url), ("us-east-1", &far)], "")
        + &endpoint("*", "/app/{*rest}", "app")
        + "[[endpoint]]\nmethod = \"POST\"\npath = \"/write\"\n\
           sql = \"insert into notes values (1) returning id\"\n"
        + POLICY;
    let world = World::with_file("create table notes (id int)", &file).await;
    world.health_turns(200).await;
    world
}

#[tokio::test]
async fn an_application_may_read_its_replica_exactly_when_the_decision_allows_it() {
    let (app, _) = app().await;
    let mut world = world(&app).await;
    for (level, role) in [
        ("eventual", "replica"),
        ("bounded;max-staleness=30", "replica"),
        ("bounded;max-staleness=0", "primary"),
        ("strong", "primary"),
    ] {
        world.get_at("/app/x", level).await;
        assert_eq!(app.last().field("x-database-role"), role, "{level}");
    }
    let post = world.request(Method::POST, "/app/x").send().await.unwrap();
    assert_eq!(post.status(), 200);
    assert_eq!(app.last().field("x-database-role"), "primary");

    world.replica().kill().await.unwrap();
    until("the replica is known to be gone", DEADLINE, async || {
        world.get_at("/app/x", "eventual").await;
        Ok((app.last().field("x-database-role") == "primary").then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_token_reaches_the_application_and_makes_the_level_session() {
    let (app, _) = app().await;
    let world = world(&app).await;
    let write = world.request(Method::POST, "/write").send().await.unwrap();
    let token = header(&write, "x-consistency-token").to_owned();
    let read = async || {
        let request = world.request(Method::GET, "/app/x");
        request
            .header("X-Consistency-Token", &token)
            .send()
            .await
            .unwrap();
        app.last()
    };
    let asked = read().await;
    assert_eq!(asked.field("x-consistency-token"), token);
    assert_eq!(asked.field("x-consistency"), "session");
    assert_eq!(asked.field("x-route-primary"), "");
    until("the replica has caught up", DEADLINE, async || {
        Ok((read().await.field("x-database-role") == "replica").then_some(()))
    })
    .await
    .unwrap();
    world.replica_is_paused().await;
    world.request(Method::POST, "/write").send().await.unwrap();
    let newer = world.request(Method::POST, "/write").send().await.unwrap();
    let newer = header(&newer, "x-consistency-token");
    let cookie = format!("a=1; __Host-tidegate-session={newer}");
    let request = world
        .request(Method::GET, "/app/x")
        .header("Cookie", cookie);
    request.send().await.unwrap();
    let asked = app.last();
    assert_eq!(asked.field("x-consistency-token"), newer);
    assert_eq!(asked.field("cookie"), "a=1");
    assert_eq!(
        asked.field("x-database-role"),
        "primary",
        "the replica lacks it"
    );
}

impl World {
    async fn replica_is_paused(&self) {
        let replica = &self.cluster.replicas[0];
        replica
            .execute("select pg_wal_replay_pause()")
            .await
            .unwrap();
        let paused = "pg_get_wal_replay_pause_state() = 'paused'";
        replica.wait_until(paused).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_verified_leads_to_the_primary_and_is_not_passed_on() {
    let (app, _) = app().await;
    let world = world(&app).await;
    let foreign = foreign_token();
    let request = world.request(Method::GET, "/app/x");
    let response = request
        .header("X-Consistency-Token", foreign)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let asked = app.last();
    assert_eq!(asked.field("x-consistency-token"), "");
    assert_eq!(asked.field("x-route-primary"), "true");
    assert_eq!(asked.field("x-database-role"), "primary");
}

fn foreign_token() -> String {
    use tidegate_model::{Lsn, SystemId, Timeline, TokenKeys, WalPosition};
    let position = WalPosition {
        system: SystemId(1),
        timeline: Timeline(1),
        lsn: Lsn(1),
    };
    TokenKeys::random().unwrap().sign(&position)
}

#[tokio::test]
async fn an_applications_token_passes_only_if_it_is_ours_and_never_goes_back() {
    let (app, said) = app().await;
    let world = world(&app).await;
    let write = async || {
        let response = world.request(Method::POST, "/write").send().await.unwrap();
        header(&response, "x-consistency-token").to_owned()
    };
    let (old, new) = (write().await, write().await);

    said.lock().unwrap().clone_from(&new);
    let response = world.get("/app/x").await;
    assert_eq!(header(&response, "x-consistency-token"), new);
    assert!(header(&response, "set-cookie").contains(&new));
    let public = world.get("/app/public").await;
    assert_eq!(header(&public, "x-consistency-token"), "");
    assert_eq!(header(&public, "set-cookie"), "");

    said.lock().unwrap().clone_from(&old);
    let response = world.get_with("/app/x", "X-Consistency-Token", &new).await;
    assert_eq!(header(&response, "x-consistency-token"), new);

    *said.lock().unwrap() = foreign_token();
    let response = world.get("/app/x").await;
    assert_eq!(header(&response, "x-consistency-token"), "");
    assert_eq!(header(&response, "set-cookie"), "");
}
