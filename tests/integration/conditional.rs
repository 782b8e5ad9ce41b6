//! Conditional requests to SQL endpoints, at every level.

use http::Method;
use reqwest::Response;
use tidegate::testkit::until;

use crate::world::{DEADLINE, World, header, problem, told};

const FILE: &str = r#"
[[policy]]
path = "/notes/*"
consistency = "eventual"
session_cookie = true

[[endpoint]]
method = "GET"
path = "/notes/{id}"
sql = "select id, text from notes where id = :path.id::int"

[[endpoint]]
method = "POST"
path = "/notes/{id}"
sql = "update notes set text = :body.text where id = :path.id::int returning id, text"
"#;

const SCHEMA: &str =
    "create table notes (id int primary key, text text); insert into notes values (1, 'one')";

async fn world() -> World {
    let world = World::with_file(SCHEMA, FILE).await;
    world.health_turns(200).await;
    world
}

async fn get(world: &World, method: Method, fields: &[(&str, &str)]) -> Response {
    let request = world.request(method, "/notes/1");
    let request = fields.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.send().await.unwrap()
}

#[tokio::test]
async fn every_200_of_a_get_has_the_tag_of_its_bytes_whatever_its_level() {
    let world = world().await;
    let mut tags = Vec::new();
    for level in ["eventual", "bounded;max-staleness=60", "session", "strong"] {
        let answer = get(&world, Method::GET, &[("x-consistency", level)]).await;
        assert_eq!(answer.status(), 200);
        tags.push(header(&answer, "etag").to_owned());
        let length = header(&answer, "content-length").to_owned();
        let tag = tags[0].clone();

        let head = get(&world, Method::HEAD, &[("x-consistency", level)]).await;
        assert_eq!(head.status(), 200);
        assert_eq!(
            (header(&head, "etag"), header(&head, "content-length")),
            (&*tag, &*length)
        );
        assert_eq!(header(&head, "content-type"), "application/json");

        for method in [Method::GET, Method::HEAD] {
            let weak = format!("\"x\", W/{tag}");
            for held in [tag.as_str(), &weak, "*"] {
                let fields = [("x-consistency", level), ("if-none-match", held)];
                let held = get(&world, method.clone(), &fields).await;
                assert_eq!(held.status(), 304, "{level}");
                assert_eq!(header(&held, "etag"), tag);
                assert_eq!(header(&held, "content-type"), "");
                assert_eq!(told(&held, "level"), level.split(';').next().unwrap());
                assert_eq!(header(&held, "cache-control"), "no-store, private");
                let has_token = !header(&held, "x-consistency-token").is_empty();
                assert_eq!(has_token, level != "eventual", "{level}");
                assert_eq!(held.text().await.unwrap(), "");
            }
        }
        let fields = [("x-consistency", level), ("if-none-match", "\"x\"")];
        assert_eq!(get(&world, Method::GET, &fields).await.status(), 200);
        let failing = [("x-consistency", level), ("if-match", "\"x\"")];
        let failed = get(&world, Method::GET, &failing).await;
        problem(failed, 412, "precondition-failed").await;
        let both = [("if-match", &*tag), ("if-none-match", &*tag)];
        assert_eq!(get(&world, Method::GET, &both).await.status(), 304);
        let range = [("x-consistency", level), ("range", "bytes=0-1")];
        let whole = get(&world, Method::GET, &range).await;
        assert_eq!(
            (whole.status().as_u16(), header(&whole, "content-length")),
            (200, &*length)
        );
    }
    tags.dedup();
    assert_eq!(tags.len(), 1, "{tags:?}");
}

#[tokio::test]
async fn the_level_is_honoured_before_the_tag_is_compared() {
    let world = world().await;
    let old = get(&world, Method::GET, &[]).await;
    let tag = header(&old, "etag").to_owned();
    world.cluster.replicas[0].pause_replay().await.unwrap();
    let written = world.post_json("/notes/1", "{\"text\":\"two\"}").await;
    assert_eq!(
        (written.status().as_u16(), header(&written, "etag")),
        (200, "")
    );
    let token = header(&written, "x-consistency-token").to_owned();
    let eventual = [("x-consistency", "eventual"), ("if-none-match", &*tag)];
    assert_eq!(get(&world, Method::GET, &eventual).await.status(), 304);
    for fresh in [
        ("x-consistency", "strong"),
        ("x-consistency-token", &*token),
    ] {
        let fields = [fresh, ("if-none-match", &tag)];
        let answer = get(&world, Method::GET, &fields).await;
        assert_eq!(answer.status(), 200, "{fresh:?}");
        assert!(answer.text().await.unwrap().contains("two"));
    }
}

#[tokio::test]
async fn head_runs_the_statement_once() {
    let world = world().await;
    let primary = &world.cluster.primary;
    primary.set("log_statement", "all").await.unwrap();
    let strong = [("x-consistency", "strong")];
    let runs = || {
        let log = primary.log();
        let is_run = |line: &&str| line.contains("execute") && line.contains("as materialized");
        log.lines().filter(is_run).count()
    };
    until("statements are logged", DEADLINE, async || {
        get(&world, Method::GET, &strong).await;
        Ok((runs() > 0).then_some(()))
    })
    .await
    .unwrap();
    let before = runs();
    assert_eq!(get(&world, Method::HEAD, &strong).await.status(), 200);
    // It is logged before it runs.
    assert_eq!(runs(), before + 1);
}
