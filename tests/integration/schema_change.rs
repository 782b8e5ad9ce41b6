//! A schema that changes under a gateway needs no restart, and no value passes through a stale type.

use http::StatusCode;
use serde_json::{Value, json};
use tidegate::testkit::until;

use crate::world::{DEADLINE, World, rows};

const SCHEMA: &str = "
    create type colour as enum ('red', 'green');
    create table things (id int primary key, colour colour, size int, seen date);
    insert into things values (1, 'red', 1, '2026-01-01');
    create function double(x int) returns int language sql immutable as 'select 2 * x'";

const ENDPOINTS: &str = r#"
[pool]
connections_max = 2
[[policy]]
path = "/*"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/by-colour"
sql = "select id from things where colour = :query.is"
[[endpoint]]
method = "GET"
path = "/by-size"
sql = "select id from things where size = :query.is"
[[endpoint]]
method = "GET"
path = "/seen-before"
sql = "select id from things where seen < :query.is"
[[endpoint]]
method = "GET"
path = "/double"
sql = "select double(:query.is) as twice"
[[endpoint]]
method = "PUT"
path = "/things/{id}"
sql = """
update things set colour = coalesce(:body.colour, colour), size = coalesce(:body.size, size),
    seen = coalesce(:body.seen, seen) where id = :path.id returning colour, size, seen"""
single = true
"#;

async fn world() -> World {
    let world = World::with_file(SCHEMA, ENDPOINTS).await;
    for path in [
        "/by-colour?is=red",
        "/by-size?is=1",
        "/seen-before?is=2026-01-02",
        "/double?is=1",
    ] {
        for level in ["strong", "eventual"].repeat(3) {
            assert_eq!(
                world.get_at(path, level).await.status(),
                StatusCode::OK,
                "{path}"
            );
        }
    }
    world.put(&json!({ "size": 1, "seen": "2026-01-01" })).await;
    world
}

impl World {
    async fn put(&self, body: &Value) -> Value {
        let request = self.request(http::Method::PUT, "/things/1").json(body);
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn alter(&self, sql: &str) {
        self.cluster.primary.execute(sql).await.unwrap();
        self.cluster.wait_for_replicas().await.unwrap();
    }

    async fn found_at(&self, path: &str, level: &str) -> (StatusCode, String) {
        let response = self.get_at(path, level).await;
        (response.status(), response.text().await.unwrap())
    }
}

#[tokio::test]
async fn the_first_request_after_a_change_is_answered_where_the_old_types_fail() {
    let world = world().await;
    for [change, path, answer] in rows::<3>(
        r#"
alter table things alter colour type text; drop type colour; create type colour as enum ('red', 'blue'); alter table things alter colour type colour using colour::colour | /by-colour?is=red | [{"id":1}]
alter table things alter size type bigint; update things set size = 5000000000 | /by-size?is=5000000000 | [{"id":1}]
drop function double(int); create function double(x text) returns text language sql immutable as 'select concat(x, x)' | /double?is=ab | [{"twice":"abab"}]
drop table things; create table things (id int primary key, colour text, size text, seen text); insert into things values (7, 'any', 'large', 'never') | /by-size?is=large | [{"id":7}]
"#,
    ) {
        world.alter(change).await;
        for level in ["strong", "eventual", "session"] {
            let found = world.found_at(path, level).await;
            assert_eq!(
                found,
                (StatusCode::OK, answer.to_owned()),
                "{change}: {level}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_stored_through_a_stale_type() {
    let world = world().await;
    world
        .alter("alter table things alter seen type timestamptz")
        .await;
    let stored = world.put(&json!({ "seen": "2026-02-03T04:05:06Z" })).await;
    assert_eq!(stored["seen"], "2026-02-03T04:05:06+00:00");
    world
        .alter("alter table things alter size type numeric")
        .await;
    let stored = world.put(&json!({ "size": 1.5 })).await;
    assert_eq!(stored["size"], 1.5);
    world
        .alter("alter table things alter size type double precision")
        .await;
    let stored = world.put(&json!({ "size": 0.1 })).await;
    assert_eq!(stored["size"], 0.1);
}

#[tokio::test]
async fn a_change_is_noticed_where_nothing_fails() {
    let world = world().await;
    let change = "alter table things alter seen type timestamptz; \
         update things set seen = '2026-01-01T12:00:00Z'";
    world.alter(change).await;
    // Compared by day alone, the result would be the opposite.
    let path = "/seen-before?is=2026-01-01T13:00:00Z";
    for level in ["strong", "eventual"] {
        until("the new type is in force", DEADLINE, async || {
            let (status, body) = world.found_at(path, level).await;
            assert_eq!(status, StatusCode::OK);
            Ok((body == r#"[{"id":1}]"#).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_as_before() {
    let world = world().await;
    for _ in 0..3 {
        for level in ["strong", "eventual"] {
            let (status, body) = world.found_at("/by-size?is=large", level).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert!(
                body.contains(r#"query parameter \"is\" is not an integer in range"#),
                "{body}"
            );
        }
        let body = json!({ "size": "large" });
        let put = world.request(http::Method::PUT, "/things/1").json(&body);
        let response = put.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = response.text().await.unwrap();
        assert!(
            body.contains(r#"body member \"size\" is not an integer in range"#),
            "{body}"
        );
    }
}
