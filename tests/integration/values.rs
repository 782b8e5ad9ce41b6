//! The values that a statement gets from a request: bounds of slices, numbers of any size, claims.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{Method, Response};
use ring::hmac;
use serde_json::Value;
use tempfile::TempDir;
use tidegate::testkit::Cluster;

use crate::world::{JWT_SECRET, World, gateway_of, header, problem};

const FILE: &str = r#"
[[endpoint]]
method = "GET"
path = "/slices/{n}"
sql = """
select a[1:2] as both, a[:2] as to_two, a[2:] as from_two, a[:] as whole, a[:path.n::int:3] as to_three,
  a[ : :path.n::int] as to_n, a[lower.n:upper.n] as columns, a[f(:path.n):f(3)] as calls, '::int'::text as word
from (select array[10, 20, 30, 40] as a) t, (select 1 as n) lower, (select 2 as n) upper,
  lateral make_interval(days := 1)
"""
single = true

[[endpoint]]
method = "POST"
path = "/numbers"
sql = """
select :body.numeric::numeric::text as numeric, :body.text::text as text, :body.json::jsonb::text as json,
  :body.double::float8 as double, :body.int::int as int
"""
single = true

[[endpoint]]
method = "GET"
path = "/claims"
auth = "jwt"
sql = "select :claims.tenant::text as tenant, :claims.id::numeric::text as id, :query.q::text as q"
single = true

[[endpoint]]
method = "POST"
path = "/claims"
auth = "jwt"
sql = "select :claims.tenant::text as tenant, :body.b::text as b, :header.x-h::text as h"
single = true
"#;

const SCHEMA: &str = "create function f(n int) returns int immutable language sql as 'select n'";

/// A JWT with these claims besides `exp`, as text so that they are signed as written.
fn signed(claims: &str) -> String {
    let hour = SystemTime::now() + Duration::from_secs(3_600);
    let expires = hour.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let encode = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
    let claims = encode(&format!("{{\"exp\": {expires}{claims}}}"));
    let signed = format!("{}.{claims}", encode(r#"{"alg":"HS256"}"#));
    let key = hmac::Key::new(hmac::HMAC_SHA256, JWT_SECRET.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

async fn json(response: Response) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn slices_are_left_to_postgresql_and_may_have_parameters_for_bounds() {
    let world = World::with_file(SCHEMA, FILE).await;

    let slices = json(world.get("/slices/2").await).await;
    for (name, expected) in [
        ("both", "[10,20]"),
        ("to_two", "[10,20]"),
        ("from_two", "[20,30,40]"),
        ("whole", "[10,20,30,40]"),
        ("to_three", "[20,30]"),
        ("to_n", "[10,20]"),
        ("columns", "[10,20]"),
        ("calls", "[20,30]"),
        ("word", "\"::int\""),
    ] {
        assert_eq!(slices[name].to_string(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_number_is_refused_only_where_postgresql_refuses_it() {
    let world = World::with_file(SCHEMA, FILE).await;
    let long = "9".repeat(400);
    let million = format!("1{}", "0".repeat(309));
    for (number, numeric) in [
        ("1e309", million.as_str()),
        (&long, &long),
        ("-0", "0"),
        ("12345678901234567890123", "12345678901234567890123"),
    ] {
        let body = format!(
            r#"{{"numeric": {number}, "text": {number}, "json": {{"a": [{{"b": {number}}}]}}}}"#
        );
        let answer = json(world.post_json("/numbers", body).await).await;
        assert_eq!(answer["numeric"], numeric);
        assert_eq!(answer["text"], number);
        let nested: String = format!(r#"{{"a": [{{"b": {numeric}}}]}}"#);
        assert_eq!(answer["json"], nested);
    }
    let deep = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let as_json = |value: &str| format!(r#"{{"json": {value}}}"#);
    let answer = world.post_json("/numbers", as_json(&deep(1_000))).await;
    assert_eq!(json(answer).await["json"], deep(1_000));
    let far = world
        .post_json("/numbers", format!(r#"{{"text": {}}}"#, deep(100_000)))
        .await;
    assert_eq!(json(far).await["text"], deep(100_000));
    for (body, detail) in [
        (
            r#"{"double": 1e309}"#.to_owned(),
            "body member \"double\" is not a number in range",
        ),
        (
            r#"{"int": -0.5}"#.to_owned(),
            "body member \"int\" is not an integer in range",
        ),
        (
            r#"{"numeric": 1e999999}"#.to_owned(),
            "body member \"numeric\" is not a number in range",
        ),
        (as_json("1e999999"), "body member \"json\" is not JSON"),
        (as_json(&deep(100_000)), "body member \"json\" is not JSON"),
    ] {
        let refused = world.post_json("/numbers", body).await;
        assert_eq!(problem(refused, 400, "invalid-parameter").await, detail);
    }
    for body in [
        r#"{"int": 01}"#,
        r#"{"json": {"a": 1e}}"#,
        r#"{"json": [{"a": 1, "a": 2}]}"#,
    ] {
        problem(world.post_json("/numbers", body).await, 400, "invalid-body").await;
    }
}

#[tokio::test]
async fn a_claim_is_bound_as_it_was_signed_and_must_be_there() {
    let world = World::with_file(SCHEMA, FILE).await;
    let get = async |claims: &str| {
        let request = world.request(Method::GET, "/claims");
        request.bearer_auth(signed(claims)).send().await.unwrap()
    };
    let known = get(r#", "tenant": "acme", "id": 12345678901234567890123, "other": 1e309"#).await;
    let expected =
        serde_json::json!({ "tenant": "acme", "id": "12345678901234567890123", "q": null });
    assert_eq!(json(known).await, expected);
    let empty = get(r#", "tenant": "", "id": 0"#).await;
    assert_eq!(json(empty).await["tenant"], "");
    for claims in [
        r#", "id": 1"#,
        r#", "id": 1, "tenant": null"#,
        r#", "id": 1, "tenant": "\ud800""#,
        r#", "id": 1, "Tenant": "acme""#,
    ] {
        let refused = get(claims).await;
        let challenge = header(&refused, "www-authenticate").to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        let detail = problem(refused, 401, "unauthorized").await;
        assert_eq!(
            detail,
            "the claim tenant of the token is missing or malformed"
        );
    }
    let post = |claims: &str| {
        let request = world.request(Method::POST, "/claims");
        request.bearer_auth(signed(claims))
    };
    // Before the body is read.
    let refused = post("").body("no JSON").send().await.unwrap();
    problem(refused, 401, "unauthorized").await;
    let answer = post(r#", "tenant": 7"#).json(&serde_json::json!({}));
    let expected = serde_json::json!({ "tenant": "7", "b": null, "h": null });
    assert_eq!(json(answer.send().await.unwrap()).await, expected);
}

#[tokio::test]
async fn a_colon_that_postgresql_refuses_is_explained_at_start() {
    let cluster = Cluster::start(0).await.unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    for (sql, expected) in [
        (
            "select * from (select :cookie.a) t",
            "syntax error at or near \":\"; a parameter is :path.x, :query.x, :body.x, :claims.x or :header.x",
        ),
        (
            "select $n",
            "syntax error at or near \"$\"; a parameter is :path.x, :query.x, :body.x, :claims.x or :header.x",
        ),
        (
            "select (array[1])[1:path.n]",
            "syntax error at or near \"$1\"; a parameter has its own colon, so a slice that ends with one \
             is [1 : :path.x]",
        ),
    ] {
        let file = format!("[[endpoint]]\nmethod = 'GET'\npath = '/x/{{n}}'\nsql = '{sql}'\n");
        std::fs::write(&path, file).unwrap();
        let start = gateway_of(&cluster).env("TIDEGATE_CONFIG", &path);
        let output = start.output().await.unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.trim_end().ends_with(expected), "{line}");
    }
}
