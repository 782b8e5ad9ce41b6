//! Which requests use the cache, and what their answers state.

use reqwest::{Method, StatusCode};

use super::{said, ttl, word, world};
use crate::world::{World, header, jwt, problem, told};

#[tokio::test]
async fn a_second_request_is_answered_from_memory_and_says_so() {
    let world = world("").await;
    let first = world.get("/fresh/1").await;
    assert_eq!(said(&first), "fwd=miss; stored");
    let tag = header(&first, "etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let second = world.get("/fresh/1").await;
    assert_eq!(said(&second), "hit");
    assert!((590..600).contains(&ttl(&second)), "{}", ttl(&second));
    for name in ["etag", "cache-control", "vary", "content-type"] {
        assert_eq!(header(&second, name), header(&first, name), "{name}");
    }
    for name in ["level", "node", "node-region", "reason"] {
        assert_eq!(told(&second, name), told(&first, name), "{name}");
    }
    assert_eq!(
        header(&second, "vary"),
        "X-Consistency, X-Consistency-Token"
    );
    assert_eq!(header(&second, "cache-control"), "public, max-age=600");
    assert_eq!(header(&second, "x-consistency-token"), "");
    assert_ne!(
        header(&second, "x-request-id"),
        header(&first, "x-request-id")
    );
    assert_eq!(second.bytes().await.unwrap(), first.bytes().await.unwrap());
    assert_eq!(world.asked(1), 1);
    let line = world
        .gateway
        .wait_for_log("\"cache\":\"hit\"")
        .await
        .unwrap();
    assert!(line.contains("\"endpoint\":\"/{lifetime}/{id}\""), "{line}");
    for result in ["hit", "miss"] {
        let series = format!("tidegate_cache_requests_total{{result=\"{result}\"}}");
        world.metric_turns(&series, |count| count == 1.0).await;
    }
    world
        .metric_turns("tidegate_cache_entries", |count| count == 1.0)
        .await;
    world
        .metric_turns("tidegate_cache_bytes", |bytes| bytes > 20.0)
        .await;
}

#[tokio::test]
async fn head_shares_the_answer_of_get_and_a_known_tag_gets_304() {
    let world = world("").await;
    let head = world
        .request(Method::HEAD, "/fresh/2")
        .send()
        .await
        .unwrap();
    assert_eq!(said(&head), "fwd=miss; stored");
    let get = world.get("/fresh/2").await;
    assert_eq!((said(&get), world.asked(2)), ("hit".to_owned(), 1));
    assert_eq!(
        header(&head, "content-length"),
        header(&get, "content-length")
    );
    let tag = header(&get, "etag").to_owned();
    assert_eq!(header(&head, "etag"), tag);
    let weak = format!("\"other\", W/{tag}");
    for (path, known, expected) in [
        ("/fresh/2", tag.as_str(), "hit"),
        ("/fresh/2", &weak, "hit"),
        ("/fresh/3", "*", "fwd=miss; stored"),
    ] {
        let response = world.get_with(path, "If-None-Match", known).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(said(&response), expected);
        assert_eq!(header(&response, "cache-control"), "public, max-age=600");
        assert_eq!(header(&response, "vary"), header(&get, "vary"));
        assert!(!header(&response, "etag").is_empty());
        assert_eq!(header(&response, "content-type"), "");
        assert_eq!(response.bytes().await.unwrap().len(), 0);
    }
    let other = world
        .get_with("/fresh/2", "If-None-Match", "\"other\"")
        .await;
    assert_eq!(word(other).await, "word 2");
}

/// Asserts that a request is answered by a node, and neither stored in nor answered from the cache.
async fn bypasses(world: &World, name: &str, value: &str) {
    let nodes = || world.asked(4) + super::asked(&world.cluster.primary, 4);
    let before = nodes();
    let response = world.get_with("/fresh/4", name, value).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(said(&response), "fwd=bypass", "{name}: {value}");
    assert_ne!(header(&response, "etag"), "", "every 200 of a GET has one");
    assert_eq!(nodes(), before + 1, "{name}: {value}");
}

#[tokio::test]
async fn a_get_that_wants_another_answer_than_there_is_fails() {
    let world = world("").await;
    let first = world.get("/fresh/4").await;
    let tag = header(&first, "etag").to_owned();
    let get = async |level: Option<&str>, wanted: &str| {
        let mut request = world.request(Method::GET, "/fresh/4");
        if let Some(level) = level {
            request = request.header("X-Consistency", level);
        }
        request.header("If-Match", wanted).send().await.unwrap()
    };
    for level in [None, Some("strong")] {
        assert_eq!(get(level, &tag).await.status(), 200, "{level:?}");
        assert_eq!(get(level, "*").await.status(), 200, "{level:?}");
        problem(get(level, "\"other\"").await, 412, "precondition-failed").await;
    }
    world.change(4, "changed").await;
    // The level is honoured before the tag is compared.
    assert_eq!(get(None, &tag).await.status(), 200);
    problem(get(Some("strong"), &tag).await, 412, "precondition-failed").await;
}

#[tokio::test]
async fn who_states_a_level_or_a_token_or_who_he_is_never_meets_the_cache() {
    let world = world("").await;
    let strong = world.get_at("/fresh/9", "strong").await;
    let token = header(&strong, "x-consistency-token").to_owned();
    let cookie = format!("theme=dark; __Host-tidegate-session={token}");
    let bearer = format!("Bearer {}", jwt("alice").await);
    let asking = [
        ("X-Consistency", "eventual"),
        ("X-Consistency", "session"),
        ("X-Consistency", "bounded;max-staleness=60"),
        ("X-Consistency", "strong"),
        ("X-Consistency-Token", &token),
        ("Cookie", &cookie),
        ("Authorization", &bearer),
        ("Authorization", ""),
    ];
    for (name, value) in asking {
        bypasses(&world, name, value).await;
    }
    let first = world.get("/fresh/4").await;
    assert_eq!(
        said(&first),
        "fwd=miss; stored",
        "nothing was stored before"
    );
    for (name, value) in asking {
        bypasses(&world, name, value).await;
    }
    let malformed = world.get_at("/fresh/4", "weak").await;
    problem(malformed, 400, "invalid-consistency").await;
    let before = world.asked(4);
    for (name, value) in [
        ("Cache-Control", "no-cache"),
        ("Cache-Control", "no-store"),
        ("Cache-Control", "max-age=0"),
        ("Pragma", "no-cache"),
        ("Cookie", "theme=dark"),
    ] {
        let response = world.get_with("/fresh/4", name, value).await;
        assert_eq!(said(&response), "hit", "{name}: {value}");
    }
    assert_eq!(world.asked(4), before);
    let series = "tidegate_cache_requests_total{result=\"bypass\"}";
    world.metric_turns(series, |count| count == 17.0).await;
}

#[tokio::test]
async fn an_answer_is_kept_by_what_it_depends_on() {
    let world = world("").await;
    for path in ["/private/5", "/fresh/header/5"] {
        for _ in 0..2 {
            let response = world.get_with(path, "X-Note", "mine").await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let expected = if path == "/private/5" {
                ""
            } else {
                "fwd=bypass"
            };
            assert_eq!(said(&response), expected, "{path}");
        }
    }
    assert_eq!(world.asked(5), 4);
    for (path, expected) in [
        ("/fresh/6?a=1&b=2", "fwd=miss; stored"),
        ("/fresh/6?b=2&a=1", "hit"),
        ("/fresh/6?b=2&a=%31&utm=x", "hit"),
        ("/fresh/%36?b=2&a=1", "hit"),
        ("/fresh/6?a=1", "fwd=miss; stored"),
        ("/fresh/6?a=1&b=", "fwd=miss; stored"),
        ("/fresh/6", "fwd=miss; stored"),
        ("/fresh/6?utm=y", "hit"),
    ] {
        assert_eq!(said(&world.get(path).await), expected, "{path}");
    }
    let repeated = world.get("/fresh/6?a=1&a=1").await;
    problem(repeated, 400, "invalid-parameter").await;
    let nul = world.get("/fresh/6?a=%00").await;
    problem(nul, 400, "invalid-parameter").await;
    for _ in 0..2 {
        let none = world.get("/fresh/77").await;
        assert_eq!(said(&none), "fwd=miss", "an absence is not stored");
        problem(none, 404, "not-found").await;
    }
}

#[tokio::test]
async fn the_cache_is_bounded_and_can_be_turned_off() {
    let bounded = world("[cache]\nbytes_max = \"16KiB\"\nentry_bytes_max = \"4KiB\"").await;
    for _ in 0..2 {
        let large = bounded.get("/fresh/large/1").await;
        assert_eq!(said(&large), "fwd=miss");
    }
    for id in 0..200 {
        bounded.get(&format!("/fresh/7?a={id}")).await;
    }
    let bytes = bounded.metric_turns("tidegate_cache_bytes", |_| true).await;
    assert!(bytes > 8_000.0 && bytes <= 16_384.0, "{bytes}");
    let off = world("[cache]\nbytes_max = 0").await;
    for _ in 0..2 {
        let response = off.get("/fresh/8").await;
        assert_eq!(said(&response), "");
        assert_eq!(header(&response, "cache-control"), "public, max-age=600");
    }
    assert_eq!(off.asked(8), 2);
}
