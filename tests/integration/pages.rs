//! Pages of an SQL endpoint's answer: followed by `Link`, complete under concurrent inserts.

use std::collections::BTreeSet;

use http::Method;
use reqwest::Response;
use serde_json::Value;

use crate::world::{World, header, problem};

const FILE: &str = r#"
[[policy]]
path = "/*"
consistency = "strong"
[[policy]]
path = "/public/*"
consistency = "eventual"
cache_control = "public, max-age=60"

[[endpoint]]
method = "GET"
path = "/items/{kind}"
page = { cursor = "after", column = "id", limit = "limit", default = 20, max = 100 }
sql = """
select id, name from items where kind = :path.kind and id > coalesce(:query.after::bigint, 0)
order by id limit :query.limit"""

[[endpoint]]
method = "GET"
path = "/public/items"
page = { column = "name", max = 7 }
sql = """
select name from items where name > coalesce(:query.after, '') order by name limit :query.limit"""

[[endpoint]]
method = "GET"
path = "/nulls"
page = { column = "name", default = 1 }
sql = """
select null::text as name from items where :query.after::text is null limit :query.limit"""

[[endpoint]]
method = "GET"
path = "/ties"
page = { column = "half", default = 2 }
sql = """
select id, id / 2 as half from items where id / 2 > coalesce(:query.after::int, 0) order by id limit :query.limit"""
"#;

const SCHEMA: &str = "create table items (id bigserial primary key, kind text not null, name text not null); \
                      insert into items (kind, name) select 'a', 'name ' || n || '&/é' from generate_series(1, 1000) n";

async fn world() -> World {
    let world = World::with_file(SCHEMA, FILE).await;
    // Answers of unknown age are not stored.
    let series = "tidegate_staleness_seconds{node=\"eu-west-1\"}";
    world.metric_turns(series, f64::is_finite).await;
    world
}

/// The path and query of the next page.
fn next(response: &Response) -> Option<String> {
    let link = header(response, "link");
    let target = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"");
    Some(target.unwrap_or_else(|| panic!("{link}")).to_owned())
}

async fn rows(response: Response) -> Vec<Value> {
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_thousand_rows_are_walked_by_link_while_others_are_inserted() {
    let world = world().await;
    let (mut seen, mut path) = (Vec::new(), Some("/items/a?x=%26&limit=37".to_owned()));
    while let Some(at) = path {
        let page = world.get(&at).await;
        path = next(&page);
        let page = rows(page).await;
        assert!(page.len() == 37 || path.is_none(), "{}", page.len());
        assert!(
            path.iter()
                .all(|path| path.starts_with("/items/a?x=%26&limit=37&after="))
        );
        seen.extend(page.iter().map(|row| row["id"].as_i64().unwrap()));
        // Before the place of the walk, and behind it.
        let sql = "insert into items (id, kind, name) values \
                   (-(select count(*) from items), 'a', 'before'), (default, 'a', 'behind')";
        if seen.len() < 500 {
            world.cluster.primary.execute(sql).await.unwrap();
        }
    }
    assert!(seen.is_sorted() && seen.first() == Some(&1));
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
    assert!((1..=1000).all(|id| distinct.contains(&id)));
    assert!(
        seen.len() > 1000,
        "what is inserted behind is seen: {}",
        seen.len()
    );
}

#[tokio::test]
async fn the_last_page_has_no_link_and_the_limit_is_the_clients() {
    let world = world().await;
    for (path, expected, is_followed) in [
        ("/items/a", 20, true),
        ("/items/a?limit=100", 100, true),
        ("/items/a?after=980", 20, false),
        ("/items/a?after=979", 20, true),
        ("/items/a?after=990", 10, false),
        ("/items/a?after=1000", 0, false),
        ("/items/none", 0, false),
        ("/items/a?limit=1", 1, true),
    ] {
        let page = world.get(path).await;
        assert_eq!(next(&page).is_some(), is_followed, "{path}");
        assert_eq!(rows(page).await.len(), expected, "{path}");
    }
    for limit in ["0", "101", "-1", "x", "", "1.5", "+1", "99999999999"] {
        let page = world.get(&format!("/items/a?limit={limit}")).await;
        let detail = problem(page, 400, "invalid-parameter").await;
        assert_eq!(
            detail,
            "query parameter \"limit\" must be a whole number from 1 to 100"
        );
    }
    let page = world.get("/items/a?after=x").await;
    problem(page, 400, "invalid-parameter").await;
    problem(world.get("/nulls").await, 500, "internal").await;
    // Rows 2 and 3 are one half, 4 and 5 the next: only between them a page may end.
    let whole = world.get("/ties").await;
    assert_eq!(next(&whole).as_deref(), Some("/ties?after=1"));
    problem(world.get("/ties?limit=3").await, 500, "internal").await;
    let long = format!("/items/a?x={}", "y".repeat(4000));
    problem(world.get(&long).await, 400, "invalid-parameter").await;
}

#[tokio::test]
async fn pages_are_stored_with_their_links_and_head_says_the_same() {
    let world = world().await;
    let mut path = Some("/public/items?limit=7".to_owned());
    let mut names = Vec::new();
    while let Some(at) = path.take().filter(|_| names.len() < 70) {
        let first = world.get(&at).await;
        let (link, tag) = (
            header(&first, "link").to_owned(),
            header(&first, "etag").to_owned(),
        );
        let stored = world.get(&at).await;
        assert!(header(&stored, "cache-status").contains("; hit"), "{at}");
        assert_eq!(header(&stored, "link"), link);
        let held = world.get_with(&at, "If-None-Match", &tag).await;
        assert_eq!(
            (held.status().as_u16(), header(&held, "link")),
            (304, &*link)
        );
        let head = world.request(Method::HEAD, &at).send().await.unwrap();
        assert_eq!(header(&head, "link"), link);
        path = next(&first);
        names.extend(
            rows(first)
                .await
                .into_iter()
                .map(|row| row["name"].to_string()),
        );
    }
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(
        (names.len(), distinct.len()),
        (70, 70),
        "names with & and / are cursors too"
    );
}

#[tokio::test]
async fn what_no_statement_reads_neither_fills_the_cache_nor_bypasses_it() {
    let world = world().await;
    let first = world.get("/public/items?limit=7").await;
    let tag = header(&first, "etag").to_owned();
    assert!(header(&first, "cache-status").contains("stored"));
    let (_, last) = header(&first, "link").split_once("after=").unwrap();
    let last = last.to_owned();
    for sent in [
        "?limit=7",
        "?limit=7&from=mail",
        "?from=mail&limit=7&x",
        "?x=%26&limit=%37",
        "?limit=007",
        "?&limit=7&&y=1",
    ] {
        let answer = world.get(&format!("/public/items{sent}")).await;
        let cache = header(&answer, "cache-status").to_owned();
        assert!(cache.starts_with("tidegate; hit"), "{sent}: {cache}");
        assert_eq!(header(&answer, "etag"), tag, "{sent}");
        // Each link repeats the request's own query, and leads to the same rows.
        let own = sent.trim_start_matches("?&").trim_start_matches('?');
        let expected = format!("</public/items?{}&after={last}", own.replace("&&", "&"));
        assert_eq!(header(&answer, "link"), expected, "{sent}");
        let next = world.get(&next(&answer).unwrap()).await;
        assert_eq!(rows(next).await.len(), 7, "{sent}");
    }
    // The path alone is answered on the fast path, with a link without anybody's parameters.
    world.get("/public/%69tems?from=mail").await;
    let plain = world.get("/public/items").await;
    assert!(header(&plain, "cache-status").starts_with("tidegate; hit"));
    assert!(header(&plain, "link").starts_with("</public/items?after="));
    // What is refused is refused also where an answer is stored.
    for refused in [
        "limit=8".to_owned(),
        format!("limit=7&x={}", "y".repeat(4_000)),
    ] {
        let answer = world.get(&format!("/public/items?{refused}")).await;
        problem(answer, 400, "invalid-parameter").await;
    }
    // Two first pages, and one that follows.
    world
        .metric_turns("tidegate_cache_entries", |entries| entries == 3.0)
        .await;
}
