//! Settings and roles of requests: every user sees their own rows, whatever happens to other requests.

mod interleaved;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{Method, RequestBuilder, Response};
use ring::hmac;
use serde_json::{Value, json};

use crate::world::{BINARY, JWT_SECRET, World, configured, gateway_of, header, problem, told};
use tidegate::testkit::{Cluster, GatewayCommand};

/// `nasty` leaves what a function can leave; the gateway's own role may see every row.
const SCHEMA: &str = "
    create role web_user; create role web_guest; create role outsider;
    create role edge login password 'keep-me-out-of-logs' noinherit;
    grant web_user to edge;
    create schema app;
    grant usage on schema app to web_user;
    create table app.items (owner text, n int);
    insert into app.items select 'user' || u, n from generate_series(0, 19) u, generate_series(1, 5) n;
    alter table app.items enable row level security;
    create policy own on app.items using (owner = current_setting('app.user', true));
    grant select, insert on app.items to web_user;
    create function app.nasty() returns int language plpgsql as '
        begin
            perform set_config(''app.user'', ''user0'', false);
            perform set_config(''app.tenant'', ''left'', false);
            perform set_config(''role'', ''web_guest'', false);
            perform set_config(''role'', ''web_user'', true);
            perform pg_advisory_lock_shared(7);
            return 1;
        end'";

const FILE: &str = r#"
[pool]
connections_max = 3
statement_timeout = "2s"

[[policy]]
path = "/*"
consistency = "eventual"
cache_control = "public, max-age=60"

[[endpoint]]
method = "GET"
path = "/items"
auth = "jwt"
settings = { "app.user" = ":claims.sub" }
role = ":claims.role"
roles = ["web_user"]
sql = "select owner, n, current_user::text as role from app.items order by n"

[[endpoint]]
method = "POST"
path = "/items"
auth = "jwt"
settings = { "app.user" = ":claims.sub" }
role = ":claims.role"
roles = ["web_user"]
sql = "insert into app.items values (:claims.sub, 6) returning owner"

[[endpoint]]
method = "POST"
path = "/foreign"
auth = "jwt"
settings = { "app.user" = ":claims.sub" }
role = ":claims.role"
roles = ["web_user"]
sql = "insert into app.items values (:body.owner, 6) returning owner"

[[endpoint]]
method = "GET"
path = "/settings"
settings = { "app.a" = ":query.a", "app.h" = ":header.X-Tenant", "app.fixed" = "it's", "statement_timeout" = ":query.t" }
sql = """
select current_setting('app.a', true) as a, current_setting('app.h', true) as h,
    current_setting('app.fixed', true) as fixed, current_setting('statement_timeout') as timeout"""
single = true

[[endpoint]]
method = "GET"
path = "/public"
settings = { "app.a" = ":query.a" }
sql = "select current_setting('app.a', true) as a, random() as x"
single = true

[[endpoint]]
method = "GET"
path = "/own"
sql = """
select nullif(current_setting('app.user', true), '') as app_user, nullif(current_setting('app.tenant', true), '') as tenant,
    current_user::text as role, current_setting('default_transaction_read_only') as read_only"""
single = true
"#;

/// Statements that fail and that take too long.
const MORE: &str = r#"
[[endpoint]]
method = "GET"
path = "/slow"
auth = "jwt"
settings = { "app.user" = ":claims.sub" }
role = ":claims.role"
roles = ["web_user"]
sql = "select owner, pg_sleep(:query.s::float8)::text as slept from app.items"

[[endpoint]]
method = "GET"
path = "/failing"
auth = "jwt"
settings = { "app.user" = ":claims.sub" }
role = ":claims.role"
roles = ["web_user"]
sql = "select owner, 1 / (n - 3) as x from app.items"
"#;

/// A function that tries to leave its settings and its role in the session.
fn nasty(method: &str) -> String {
    format!(
        r#"
[[endpoint]]
method = "{method}"
path = "/nasty"
auth = "jwt"
settings = {{ "app.user" = ":claims.sub", "app.tenant" = ":claims.sub" }}
role = ":claims.role"
roles = ["web_user"]
sql = "select app.nasty() as done"
"#
    )
}

fn file() -> String {
    [FILE, MORE, &nasty("GET"), &nasty("POST")].concat()
}

async fn world() -> World {
    World::with_file(SCHEMA, &file()).await
}

/// A token with these claims, besides when it expires.
fn token(mut claims: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    claims["exp"] = (now + Duration::from_secs(3_600)).as_secs().into();
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&json!({ "alg": "HS256" })), encode(&claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, JWT_SECRET.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn user(name: &str) -> String {
    token(json!({ "sub": name, "role": "web_user" }))
}

impl World {
    fn bearing(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(token)
    }

    async fn with_token(&self, token: &str, path: &str) -> Response {
        let request = self.bearing(token, Method::GET, path);
        request.send().await.unwrap()
    }
}

async fn json_of(response: Response) -> Value {
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_user_sees_and_writes_their_own_rows_only_on_every_node() {
    let world = world().await;
    for name in ["user1", "user2"] {
        for (level, node) in [("eventual", "replica"), ("strong", "primary")] {
            let request = world.bearing(&user(name), Method::GET, "/items");
            let response = request.header("X-Consistency", level).send().await.unwrap();
            assert_eq!(told(&response, "node"), node);
            assert_eq!(header(&response, "cache-control"), "no-store, private");
            let rows = json_of(response).await;
            let rows = rows.as_array().unwrap();
            assert_eq!(rows.len(), 5);
            let own = |row: &Value| row["owner"] == name && row["role"] == "web_user";
            assert!(rows.iter().all(own), "{rows:?}");
        }
    }
    // Without a stated level the row's `public` would let shared caches keep it.
    let response = world.with_token(&user("user1"), "/items").await;
    assert_eq!(header(&response, "cache-control"), "no-store, private");

    let request = world.bearing(&user("user3"), Method::POST, "/items");
    let response = request.send().await.unwrap();
    assert!(!header(&response, "x-consistency-token").is_empty());
    assert_eq!(json_of(response).await[0]["owner"], "user3");
    let request = world.bearing(&user("user3"), Method::POST, "/foreign");
    let foreign = request.json(&json!({ "owner": "user4" })).send().await;
    problem(foreign.unwrap(), 403, "forbidden").await;
    let count = "select count(*) from app.items where n = 6";
    let count = world.cluster.primary.value(count).await.unwrap();
    assert_eq!(count.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_claim_is_text_whatever_it_contains_and_a_role_is_exactly_one_of_the_list() {
    let world = world().await;
    let hostile = "user1'; set role edge; select '";
    for sub in [json!(hostile), json!("user1\u{1}"), json!("nobody")] {
        let token = token(json!({ "sub": sub, "role": "web_user" }));
        let rows = json_of(world.with_token(&token, "/items").await).await;
        assert_eq!(rows, json!([]), "{sub}");
    }
    for (claims, status, kind) in [
        (json!({ "role": "web_user" }), 401, "unauthorized"),
        (
            json!({ "sub": null, "role": "web_user" }),
            401,
            "unauthorized",
        ),
        (json!({ "sub": "user1" }), 403, "forbidden"),
        (json!({ "sub": "user1", "role": null }), 403, "forbidden"),
        (json!({ "sub": "user1", "role": "none" }), 403, "forbidden"),
        (
            json!({ "sub": "user1", "role": "web_guest" }),
            403,
            "forbidden",
        ),
        (
            json!({ "sub": "user1", "role": "WEB_USER" }),
            403,
            "forbidden",
        ),
        (
            json!({ "sub": "user1", "role": ["web_user"] }),
            403,
            "forbidden",
        ),
        (
            json!({ "sub": "user1", "role": "web_user; reset role" }),
            403,
            "forbidden",
        ),
        (
            json!({ "sub": "a\0b", "role": "web_user" }),
            400,
            "invalid-parameter",
        ),
    ] {
        let response = world.with_token(&token(claims.clone()), "/items").await;
        let detail = problem(response, status, kind).await;
        assert!(!detail.contains("web_user"), "{claims}: {detail}");
    }
}

#[tokio::test]
async fn an_absent_value_is_the_empty_string_and_leaves_what_the_server_knows_alone() {
    let world = world().await;
    let settings = async |query: &str, tenant: Option<&str>| {
        let request = world.request(Method::GET, &format!("/settings{query}"));
        let request = match tenant {
            Some(tenant) => request.header("X-Tenant", tenant),
            None => request,
        };
        request.send().await.unwrap()
    };
    for _ in 0..4 {
        let all = json_of(settings("?a=1&t=3s", Some("t'1")).await).await;
        let expected = json!({ "a": "1", "h": "t'1", "fixed": "it's", "timeout": "3s" });
        assert_eq!(all, expected);
        let none = json_of(settings("", None).await).await;
        let expected = json!({ "a": "", "h": "", "fixed": "it's", "timeout": "2s" });
        assert_eq!(none, expected);
    }
    let response = settings("?t=soon", None).await;
    problem(response, 400, "invalid-parameter").await;
    // It names a header, so its answer is the client's alone; the other names a parameter.
    let response = settings("", None).await;
    assert_eq!(header(&response, "cache-control"), "no-store, private");
    let public = async |query: &str| json_of(world.get(&format!("/public?{query}")).await).await;
    let (one, two) = (public("a=1").await, public("a=2").await);
    assert_eq!((&one["a"], &two["a"]), (&json!("1"), &json!("2")));
    assert_eq!(public("a=1&other=5").await, one, "it is stored");
}

#[tokio::test]
async fn what_a_function_leaves_in_its_session_ends_with_the_request() {
    let world = world().await;
    let own = async |level: &str| json_of(world.get_at("/own", level).await).await;
    let fresh = own("strong").await;
    for _ in 0..6 {
        for (method, level) in [
            (Method::GET, "eventual"),
            (Method::GET, "strong"),
            (Method::POST, "strong"),
        ] {
            let request = world.bearing(&user("user5"), method, "/nasty");
            let response = request.header("X-Consistency", level).send().await.unwrap();
            let _done = json_of(response).await;
        }
        for level in ["eventual", "strong"] {
            assert_eq!(own(level).await, fresh);
        }
    }
}

#[tokio::test]
async fn check_and_serve_refuse_a_role_that_the_gateway_may_not_take() {
    let cluster = Cluster::start(0).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    let url = cluster.primary.url().replace("tidegate:", "edge:");
    let with = |roles: &str, extra: &str| {
        let toml = FILE.replace(r#"["web_user"]"#, roles) + extra;
        move |subcommand: &str| {
            let command = GatewayCommand::new(BINARY, subcommand);
            let command = command.env("REGION", "us-east-1");
            configured(&cluster, command.env("DATABASE_URL", &url), &toml)
        }
    };
    let outsider = with(r#"["web_user", "outsider"]"#, "");
    for subcommand in ["check", "serve"] {
        let output = outsider(subcommand).output().await.unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(
            line.contains("roles = \"outsider\": permission denied"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn check_and_serve_refuse_a_setting_and_a_statement_that_the_database_refuses() {
    let cluster = Cluster::start(0).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    let setting = r#"settings = { "app.user" = ":claims.sub" }"#;
    let other = "[[endpoint]]\nmethod = \"GET\"\npath = \"/other\"\nsql = \"select nosuch from app.items\"\n";
    for (toml, expected) in [
        (
            FILE.replace(setting, r#"settings = { "nosuch" = "x" }"#),
            "settings = \"nosuch\": unrecognized configuration parameter",
        ),
        (
            FILE.replace("select owner, n,", "select nosuch, n,"),
            "cannot be prepared as web_user: column \"nosuch\" does not exist",
        ),
        (
            format!("{FILE}\n{other}"),
            "GET /other cannot be prepared: column \"nosuch\" does not exist",
        ),
    ] {
        for subcommand in ["check", "serve"] {
            let command = GatewayCommand::new(BINARY, subcommand)
                .env("REGION", "us-east-1")
                .env("DATABASE_URL", cluster.primary.url());
            let output = configured(&cluster, command, &toml).output().await.unwrap();
            let line = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{subcommand}: {line}");
            assert!(line.contains(expected), "{subcommand}: {line}");
        }
    }
}

#[tokio::test]
async fn a_statement_is_prepared_as_the_role_that_runs_it() {
    let cluster = Cluster::start(0).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    // It may take the role and log in, and see nothing by itself.
    let url = cluster.primary.url().replace("tidegate:", "edge:");
    let items = FILE.split("[[endpoint]]").take(3).collect::<Vec<_>>();
    let gateway = gateway_of(&cluster).env("DATABASE_URL", &url);
    let gateway = configured(&cluster, gateway, &items.join("[[endpoint]]"));
    let check = GatewayCommand::new(BINARY, "check").env("REGION", "us-east-1");
    let check = check
        .env("DATABASE_URL", &url)
        .env("AUTH_JWT_SECRET", JWT_SECRET);
    let check = configured(&cluster, check, &items.join("[[endpoint]]"));
    let output = check.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("ROLES\nweb_user\nthe gateway's own role may take them"),
        "{text}"
    );
    assert!(
        text.contains("\nSTATEMENTS\nall can be prepared, by "),
        "{text}"
    );
    assert!(text.contains("; sets app.user, role"), "{text}");
    let world = World::over(cluster, gateway).await;
    let rows = json_of(world.with_token(&user("user7"), "/items").await).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(5), "{rows}");
}

/// The blocks of a language in the page, in its order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    let until_end = |block: &str| block.split("```").next().unwrap().to_owned();
    blocks.map(until_end).collect()
}

#[tokio::test]
async fn the_example_of_the_page_does_what_it_says() {
    let page = include_str!("../../docs/api.md");
    let (_, section) = page
        .split_once("\n## Rows of their own for every user\n")
        .unwrap();
    let (sql, toml) = (blocks(section, "sql"), blocks(section, "toml"));
    let world = World::with_file(&sql[0], &toml[0]).await;
    for name in ["ada", "bob"] {
        let text = json!({ "text": format!("by {name}") });
        let request = world
            .bearing(&user(name), Method::POST, "/notes")
            .json(&text);
        let written = request.send().await.unwrap();
        assert_eq!(written.status(), 201);
        let token = header(&written, "x-consistency-token").to_owned();
        let request = world.bearing(&user(name), Method::GET, "/notes");
        let request = request.header("X-Consistency-Token", token);
        let rows = json_of(request.send().await.unwrap()).await;
        let texts: Vec<_> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["text"])
            .collect();
        assert_eq!(texts, [&text["text"]]);
    }
    let guest = token(json!({ "sub": "ada", "role": "guest" }));
    problem(world.with_token(&guest, "/notes").await, 403, "forbidden").await;
}
