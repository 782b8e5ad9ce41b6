//! Endpoints: what the built-in ones answer, and what an operator's own statements may rely on.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{DEADLINE, World, header, problem, rows};

const SCHEMA: &str = "
create table notes (
    id     bigint generated always as identity primary key,
    body   text not null,
    parent bigint constraint note_parent_exists references notes,
    constraint note_is_short check (length(body) <= 20),
    constraint note_is_unique unique (body)
);
create function sneak() returns bigint language sql volatile as
    'insert into notes (body) values (''sneaked'') returning id';
create function refuse(code text, message text) returns text language plpgsql as
    'begin raise exception using errcode = code, message = message; end';
";

const FILE: &str = r#"
[[policy]]
path = "/sneak"
consistency = "eventual"

[[endpoint]]
method = "GET"
path = "/echo/{word}/{number}"
sql = """
select :path.word as word, :path.number::int + 1 as next, :query.q as q,
    :query.q::text is null as q_is_null, :header.X-Note as note, ':path.word' as literal
"""
single = true

[[endpoint]]
method = "POST"
path = "/echo"
sql = "select :body.value as value, :body.value::text is null as absent, :query.q as q"
single = true

[[endpoint]]
method = "POST"
path = "/typed"
sql = """
select :body.int::int as int, :body.number::numeric as number, :body.bool::boolean as bool,
    :body.uuid::uuid as uuid, :body.date::date as date, :body.time::timestamptz as time,
    :body.json::jsonb as json
"""
single = true

[[endpoint]]
method = "GET"
path = "/claims"
auth = "jwt"
sql = "select :claims.sub as sub, :claims.exp::bigint > 0 as exp"
single = true

[[endpoint]]
method = "GET"
path = "/notes"
sql = "select id, body from notes order by id"

[[endpoint]]
method = "POST"
path = "/notes"
status = 201
sql = "insert into notes (body, parent) values (:body.body, :body.parent) returning id, body"
single = true

[[endpoint]]
method = "DELETE"
path = "/notes/{id}"
sql = "delete from notes where id = :path.id returning id"
single = true

[[endpoint]]
method = "GET"
path = "/sneak"
sql = "select sneak()"

[[endpoint]]
method = "GET"
path = "/insert"
sql = "insert into notes (body) values ('inserted') returning id"

[[endpoint]]
method = "POST"
path = "/refuse"
sql = "select refuse(:body.code, :body.message)"
"#;

async fn json(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "application/json");
    response.json().await.unwrap()
}

#[tokio::test]
async fn the_built_in_reads_answer_with_their_shapes() {
    let world = World::start().await;
    for path in ["/public/rates", "/api/v1/rates"] {
        let rates = json(world.get(path).await).await;
        assert_eq!(rates.as_array().unwrap().len(), 90);
        assert!(rates[0]["rate"].is_string() && rates[0]["as_of"].is_string());
    }
    let rates = json(world.get("/api/v1/rates?base=USD&quote=NGN").await).await;
    assert_eq!(rates.as_array().unwrap().len(), 1);
    assert_eq!(rates[0]["rate"], "1540");
    assert_eq!(
        json(world.get("/api/v1/rates?base=").await).await,
        json!([])
    );
    let rate = json(world.get("/api/v1/rates/USD/NGN").await).await;
    assert_eq!(rate, rates[0]);
    problem(world.get("/api/v1/rates/USD/XXX").await, 404, "not-found").await;

    let fees = json(world.get("/public/fees").await).await;
    assert_eq!(fees.as_array().unwrap().len(), 50);
    let fees = json(world.get("/api/v1/fees?product=mint").await).await;
    assert_eq!(fees.as_array().unwrap().len(), 10);
    assert!(fees[0]["percent"].is_string() && fees[0]["fixed"].is_string());
    let docs = json(world.get("/public/docs").await).await;
    assert_eq!(docs[0]["slug"], "fees");
    let terms = json(world.get("/public/docs/terms").await).await;
    assert_eq!(terms["title"], "Terms of service");
    problem(world.get("/public/docs/none").await, 404, "not-found").await;

    let profile = json(world.get_as("alice", "/account/profile").await).await;
    assert_eq!(
        (&profile["name"], &profile["country"]),
        (&json!("alice"), &json!("NG"))
    );
    let kyc = json(world.get_as("quinn", "/account/kyc").await).await;
    assert_eq!(kyc["status"], "pending");
    let balances = json(world.get_as("alice", "/account/balances").await).await;
    let expected = json!([
        { "currency": "CNGN", "amount": "1000.000000" },
        { "currency": "EUR", "amount": "500.00" },
        { "currency": "NGN", "amount": "250000.00" },
        { "currency": "USD", "amount": "1000.00" },
    ]);
    assert_eq!(balances, expected);
    for path in ["/account/profile", "/account/kyc"] {
        for stranger in ["mallory", "system:issuance"] {
            problem(world.get_as(stranger, path).await, 404, "not-found").await;
        }
    }
}

#[tokio::test]
async fn parameters_are_bound_from_every_source_and_never_spliced() {
    let world = World::with_file(SCHEMA, FILE).await;
    let hostile = "/echo/';drop%20table%20notes;--/41?q=%27%22$1";
    let answer = json(world.get_with(hostile, "X-Note", "a\"b").await).await;
    let expected = json!({
        "word": "';drop table notes;--", "next": 42, "q": "'\"$1", "q_is_null": false,
        "note": "a\"b", "literal": ":path.word",
    });
    assert_eq!(answer, expected);
    let absent = json(world.get("/echo/caf%C3%A9/1").await).await;
    let expected = json!({
        "word": "café", "next": 2, "q": null, "q_is_null": true, "note": null,
        "literal": ":path.word",
    });
    assert_eq!(absent, expected);
    let empty = json(world.get("/echo/a+b/1?q=").await).await;
    assert_eq!(
        (&empty["q"], &empty["q_is_null"]),
        (&json!(""), &json!(false))
    );
    assert_eq!(empty["word"], "a+b", "a plus is a space in a query only");

    for (body, value) in [
        (r#"{"value":"x\u00e9\n"}"#, json!("xé\n")),
        (r#"{"value":""}"#, json!("")),
        (r#"{"value":1.50e0}"#, json!("1.50e0")),
        (r#"{"value":-0}"#, json!("-0")),
        (
            r#"{"value":123456789012345678901234567890}"#,
            json!("123456789012345678901234567890"),
        ),
        (r#"{"value":true}"#, json!("true")),
        (r#"{"value":{"a": [1, 2]}}"#, json!("{\"a\": [1, 2]}")),
        (r#"{"value":null}"#, Value::Null),
        (r#"{"other":{"value":1}}"#, Value::Null),
    ] {
        let answer = json(world.post_json("/echo", body).await).await;
        assert_eq!(answer["value"], value, "{body}");
        assert_eq!(answer["absent"], value.is_null(), "{body}");
    }
    let claims = json(world.get_as("alice", "/claims").await).await;
    assert_eq!(claims, json!({ "sub": "alice", "exp": true }));

    let typed = r#"{"int":7,"number":"1.50","bool":true,"json":{"b":[1]},
        "uuid":"F47AC10B-58CC-4372-A567-0E02B2C3D479","date":"2024-02-29","time":"2024-02-29T12:00:00+02"}"#;
    let answer = world.post_json("/typed", typed).await.text().await.unwrap();
    let expected = concat!(
        r#"{"int":7,"number":1.50,"bool":true,"uuid":"f47ac10b-58cc-4372-a567-0e02b2c3d479","#,
        r#""date":"2024-02-29","time":"2024-02-29T10:00:00+00:00","json":{"b": [1]}}"#
    );
    assert_eq!(answer, expected, "the bytes are PostgreSQL's");
}

const WRONG_TYPES: &str = r#"
{"int":"x"}           | body member "int" is not an integer in range
{"int":""}            | body member "int" is not an integer in range
{"int":1.5}           | body member "int" is not an integer in range
{"int":"$3"}          | body member "int" is not an integer in range
{"int":"\n$3 = '"}    | body member "int" is not an integer in range
{"int":3000000000}    | body member "int" is not an integer in range
{"number":"many"}     | body member "number" is not a number in range
{"bool":"perhaps"}    | body member "bool" is not a boolean
{"uuid":"x"}          | body member "uuid" is not a UUID
{"date":"2023-02-29"} | body member "date" is not a date
{"time":"late"}       | body member "time" is not a timestamp
{"json":"{"}          | body member "json" is not JSON
"#;

#[tokio::test]
async fn a_value_of_the_wrong_type_is_named_and_postgresql_is_not_quoted() {
    let world = World::with_file(SCHEMA, FILE).await;
    // The message must be the same regardless of the server's log settings.
    let verbose = "alter system set log_parameter_max_length_on_error = -1";
    for setting in [None, Some(verbose)] {
        if let Some(setting) = setting {
            let primary = &world.cluster.primary;
            primary.execute(setting).await.unwrap();
            primary.execute("select pg_reload_conf()").await.unwrap();
            primary
                .wait_until("current_setting('log_parameter_max_length_on_error') = '-1'")
                .await
                .unwrap();
        }
        for [body, expected] in rows(WRONG_TYPES) {
            let response = world.post_json("/typed", body).await;
            let detail = problem(response, 400, "invalid-parameter").await;
            assert_eq!(detail, expected, "{body}");
        }
    }
    let path = world.get("/echo/a/b").await;
    let detail = problem(path, 400, "invalid-parameter").await;
    assert_eq!(
        detail,
        "path parameter \"number\" is not an integer in range"
    );
    for (path, expected) in [
        (
            "/echo/a/1?q=%00",
            "query parameter \"q\" contains a NUL character",
        ),
        ("/echo/a/1?q=%ff", "the query string is not UTF-8"),
        (
            "/echo/a/1?q=1&%71=2",
            "a query parameter is given more than once",
        ),
    ] {
        let detail = problem(world.get(path).await, 400, "invalid-parameter").await;
        assert_eq!(detail, expected);
    }
    let twice = world
        .request(Method::GET, "/echo/a/1")
        .header("X-Note", "1");
    let twice = twice.header("X-Note", "2").send().await.unwrap();
    let detail = problem(twice, 400, "invalid-parameter").await;
    assert_eq!(detail, "header \"x-note\" is given more than once");
}

const REFUSED_NOTES: &str = r#"
{"body":"first"}                         | 409 | conflict | (note_is_unique)
{"body":"longer than twenty characters"} | 422 | rejected | (note_is_short)
{"body":"x","parent":99}                 | 422 | rejected | (note_parent_exists)
{}                                       | 422 | rejected | (body)
"#;

/// SQLSTATEs that a function may raise for clients.
const RAISED: &str = "
P0001 | 422 | rejected
PT400 | 400 | invalid-parameter
PT404 | 404 | not-found
PT409 | 409 | conflict
PT418 | 418 | rejected
PT429 | 429 | rate-limited
";

/// Asserts that an answer is a fault without details, and returns its cause from the log.
async fn hidden_cause(world: &World, response: reqwest::Response) -> String {
    let id = header(&response, "x-request-id").to_owned();
    let detail = problem(response, 500, "internal").await;
    assert_eq!(detail, "the cause is in the log under this request id");
    let line = format!("\"a request failed\",\"request_id\":\"{id}\"");
    world.gateway.wait_for_log(&line).await.unwrap()
}

#[tokio::test]
async fn a_failed_statement_answers_by_its_sqlstate() {
    let world = World::with_file(SCHEMA, FILE).await;
    let note = world.post_json("/notes", r#"{"body":"first"}"#).await;
    assert_eq!(note.status(), StatusCode::CREATED);
    assert_eq!(note.text().await.unwrap(), r#"{"id":1,"body":"first"}"#);
    for [body, status, kind, expected] in rows(REFUSED_NOTES) {
        let response = world.post_json("/notes", body).await;
        let detail = problem(response, status.parse().unwrap(), kind).await;
        assert!(detail.ends_with(expected), "{body}: {detail}");
    }
    let raise = async |code: &str| {
        let body = json!({ "code": code, "message": "said \"no\"" });
        world.post_json("/refuse", body.to_string()).await
    };
    for [code, status, kind] in rows(RAISED) {
        let status = status.parse().unwrap();
        let detail = problem(raise(code).await, status, kind).await;
        assert_eq!(detail, "said \"no\"", "{code}");
    }
    for code in ["PT500", "PT4XX", "42501", "XX000", "39000"] {
        let cause = hidden_cause(&world, raise(code).await).await;
        assert!(cause.contains("said"), "{cause}");
    }
    let collision = raise("40001").await;
    assert_eq!(header(&collision, "retry-after"), "1");
    problem(collision, 409, "conflict").await;

    // A GET may not write: neither through a replica nor, which could, through the primary.
    for (path, level) in [
        ("/sneak", "eventual"),
        ("/sneak", "strong"),
        ("/insert", "strong"),
    ] {
        let cause = hidden_cause(&world, world.get_at(path, level).await).await;
        assert!(cause.contains("read-only transaction"), "{cause}");
    }
    let notes = json(world.get("/notes").await).await;
    assert_eq!(
        notes,
        json!([{ "id": 1, "body": "first" }]),
        "nothing else was written"
    );

    let delete = async || {
        let request = world.request(Method::DELETE, "/notes/1");
        request.send().await.unwrap()
    };
    assert_eq!(json(delete().await).await, json!({ "id": 1 }));
    problem(delete().await, 404, "not-found").await;
    let none = world.get_at("/notes", "strong").await;
    assert_eq!(none.text().await.unwrap(), "[]");
}

#[tokio::test]
async fn every_method_of_a_path_is_answered() {
    let world = World::start().await;
    let http2 = Client::builder()
        .http2_prior_knowledge()
        .timeout(DEADLINE)
        .build()
        .unwrap();
    for client in [&world.client, &http2] {
        let url = world.gateway.url("/public/docs");
        let get = client.get(&url).send().await.unwrap();
        let head = client.head(&url).send().await.unwrap();
        for name in ["content-type", "cache-control", "vary", "x-route-primary"] {
            assert_eq!(header(&head, name), header(&get, name), "{name}");
        }
        let length = get.bytes().await.unwrap().len().to_string();
        assert_eq!(header(&head, "content-length"), length);
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.bytes().await.unwrap().len(), 0);
        let head = client
            .head(world.gateway.url("/public/docs/none"))
            .send()
            .await
            .unwrap();
        assert_eq!(head.status(), StatusCode::NOT_FOUND);
        assert_eq!(header(&head, "content-type"), "application/problem+json");
        assert_eq!(head.bytes().await.unwrap().len(), 0);
    }
    for (method, path, allow) in [
        (Method::POST, "/public/rates", "GET, HEAD, OPTIONS"),
        (Method::DELETE, "/api/v1/transfers/1", "GET, HEAD, OPTIONS"),
        (Method::GET, "/api/v1/transfers", "OPTIONS, POST"),
        (Method::HEAD, "/api/v1/transfers", "OPTIONS, POST"),
        (Method::TRACE, "/account/profile", "GET, HEAD, OPTIONS"),
    ] {
        let options = world.request(Method::OPTIONS, path).send().await.unwrap();
        assert_eq!(options.status(), StatusCode::NO_CONTENT);
        assert_eq!(header(&options, "allow"), allow);
        assert!(!header(&options, "x-request-id").is_empty());
        let response = world.request(method.clone(), path).send().await.unwrap();
        assert_eq!(header(&response, "allow"), allow);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        if method != Method::HEAD {
            problem(response, 405, "method-not-allowed").await;
        }
    }
    for path in [
        "/",
        "/public",
        "/public/rates/",
        "/public/Rates",
        "/API/v1/rates",
        "/nothing",
    ] {
        let detail = problem(world.get(path).await, 404, "not-found").await;
        assert_eq!(detail, "there is nothing here");
        let options = world.request(Method::OPTIONS, path).send().await.unwrap();
        problem(options, 404, "not-found").await;
    }
}

const NOT_ONE_OBJECT: [&str; 14] = [
    "",
    "null",
    "[]",
    "\"a\"",
    "1",
    "{",
    "{}x",
    r#"{"value":1,"value":2}"#,
    r#"{"value":1,"v\u0061lue":2}"#,
    r#"{"other":{"a":1,"a":2}}"#,
    r#"{"value":"\ud800"}"#,
    "{value:1}",
    r#"{"value":01}"#,
    "\u{feff}{}",
];

/// The default of `body_bytes_max`.
const MEBIBYTE: usize = 1 << 20;

#[tokio::test]
async fn a_body_is_declared_as_json_and_is_one_object() {
    let world = World::with_file(SCHEMA, FILE).await;
    for media_type in [
        None,
        Some("text/plain"),
        Some("application/jsonp"),
        Some("multipart/form-data"),
    ] {
        let mut request = world.request(Method::POST, "/echo").body("{}");
        if let Some(media_type) = media_type {
            request = request.header("Content-Type", media_type);
        }
        problem(request.send().await.unwrap(), 415, "unsupported-media-type").await;
    }
    for media_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let request = world.request(Method::POST, "/echo").body("{}");
        let response = request
            .header("Content-Type", media_type)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    for body in NOT_ONE_OBJECT {
        let response = world.post_json("/echo", body).await;
        let detail = problem(response, 400, "invalid-body").await;
        assert!(
            detail.starts_with("the body is not acceptable JSON: "),
            "{detail}"
        );
    }
    let nul = world.post_json("/echo", r#"{"value":"a\u0000"}"#).await;
    let detail = problem(nul, 400, "invalid-parameter").await;
    assert_eq!(detail, "body member \"value\" contains a NUL character");
}

#[tokio::test]
async fn a_body_is_bounded_whether_or_not_its_length_is_declared() {
    let world = World::with_file(SCHEMA, FILE).await;
    let filled = |length: usize| format!("{{\"value\":\"{}\"}}", "x".repeat(length - 12));
    assert_eq!(filled(MEBIBYTE).len(), MEBIBYTE);
    let largest = world.post_json("/echo", filled(MEBIBYTE)).await;
    assert_eq!(largest.status(), StatusCode::OK);
    let head = "POST /echo HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let declared = format!("{head}Content-Length: {}\r\n\r\n", MEBIBYTE + 1);
    let declared = world.send_raw(declared.as_bytes()).await;
    assert!(declared.is_problem(413, "too-large"), "{}", declared.head);
    let chunk = filled(MEBIBYTE + 1);
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    let chunked = world.send_raw(chunked.as_bytes()).await;
    assert!(chunked.is_problem(413, "too-large"), "{}", chunked.head);
    let expected = format!("the body is larger than {MEBIBYTE} bytes");
    assert!(chunked.body.contains(&expected), "{}", chunked.body);
    let cut = format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n");
    let cut = world.send_raw(cut.as_bytes()).await;
    assert!(cut.is_problem(400, "invalid-body"), "{}", cut.head);
}

#[tokio::test]
async fn an_answer_to_a_body_that_is_not_valid_says_that_the_connection_closes() {
    let world = World::with_file(SCHEMA, FILE).await;
    let request = "POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n\
                   Transfer-Encoding: chunked\r\n\r\nzz\r\n";
    let answer = world.send_raw(request.as_bytes()).await;
    assert!(answer.is_problem(400, "invalid-body"), "{}", answer.head);
    let closes = "\r\nconnection: close\r\n";
    assert!(
        format!("{}\r\n", answer.head).contains(closes),
        "{}",
        answer.head
    );
}
