//! Nothing that one request's statement leaves in a session reaches another request.

mod writes;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Response;
use serde_json::{Value, json};

use crate::world::World;

/// `run` executes any statement, as user-defined functions can.
const SCHEMA: &str = "
    create table accounts (id int primary key, name text);
    insert into accounts values (1, 'alice');
    create schema other;
    create table other.accounts (id int primary key, name text);
    insert into other.accounts values (1, 'mallory');
    create sequence numbers;
    create role guest;
    create function run(statements text) returns text language plpgsql
        as 'begin execute statements; return ''done''; end'";

/// Two connections to each node, one of which may be shared.
/// (A user-defined setting that was set once is empty where it was absent; PostgreSQL cannot remove
/// it.)
const ENDPOINTS: &str = r#"
[pool]
connections_max = 2
[[policy]]
path = "/*"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/run"
sql = "select run(:query.sql)"
[[endpoint]]
method = "POST"
path = "/run"
sql = "select run(:body.sql)"
[[endpoint]]
method = "GET"
path = "/accounts/{id}"
sql = "select name from accounts where id = :path.id"
single = true
[[endpoint]]
method = "GET"
path = "/random"
sql = "select random()"
single = true
[[endpoint]]
method = "POST"
path = "/numbers/next"
sql = "select nextval('numbers')"
[[endpoint]]
method = "POST"
path = "/numbers/current"
sql = "select currval('numbers')"
[[endpoint]]
method = "GET"
path = "/state"
single = true
sql = """
select current_setting('search_path') as path, nullif(current_setting('app.user', true), '') as app_user,
    current_user::text as role, current_setting('default_transaction_read_only') as read_only,
    current_setting('TimeZone') as zone,
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
    (select count(*) from pg_listening_channels()) as channels,
    (select count(*) from pg_cursors where is_holdable) as cursors,
    (select count(*) from pg_class where relnamespace = pg_my_temp_schema()) as temporary
"""
"#;

async fn world() -> World {
    World::with_file(SCHEMA, ENDPOINTS).await
}

impl World {
    async fn run_by_get(&self, statements: &str, level: &str) -> Response {
        let statements = utf8_percent_encode(statements, NON_ALPHANUMERIC);
        self.get_at(&format!("/run?sql={statements}"), level).await
    }

    async fn run_by_post(&self, statements: &str) -> Response {
        let body = json!({ "sql": statements });
        self.post_json("/run", body.to_string()).await
    }

    /// The state of the sessions of both nodes, for several concurrent requests.
    async fn states(&self) -> Vec<Value> {
        let state = async |level: &str| {
            let response = self.get_at("/state", level).await;
            assert_eq!(response.status(), StatusCode::OK);
            response.json::<Value>().await.unwrap()
        };
        let levels = ["strong", "eventual"].repeat(8);
        join_all(levels.into_iter().map(state)).await
    }
}

/// State that is undone, however it was created.
const LEFT: [&str; 9] = [
    "select set_config('search_path', 'other', false)",
    "select set_config('app.user', 'alice', false)",
    "set role guest",
    "set timezone = 'Asia/Tokyo'",
    "select pg_advisory_lock(1); select pg_advisory_lock_shared(2)",
    "listen channel",
    "declare held cursor with hold for select 1",
    "select set_config('default_transaction_read_only', 'off', false)",
    "set session characteristics as transaction isolation level serializable",
];

#[tokio::test]
async fn nothing_that_a_statement_leaves_reaches_another_request() {
    let world = world().await;
    let fresh = world.states().await;
    assert!(fresh.iter().all(|state| *state == fresh[0]), "{fresh:?}");
    for statements in LEFT {
        for _ in 0..4 {
            let posted = world.run_by_post(statements).await;
            assert_eq!(posted.status(), StatusCode::OK, "{statements}");
            for level in ["strong", "eventual"] {
                let got = world.run_by_get(statements, level).await;
                // A replica has no channels.
                let listens = statements.starts_with("listen") && level == "eventual";
                assert!(got.status() == StatusCode::OK || listens, "{statements}");
            }
        }
        let states = world.states().await;
        assert!(
            states.iter().all(|state| *state == fresh[0]),
            "{statements}: {states:?}"
        );
    }
    let temporary = "create temporary table accounts as select 1 as id, 'eve'::text as name";
    assert_eq!(world.run_by_post(temporary).await.status(), StatusCode::OK);
    assert!(world.states().await.iter().all(|state| *state == fresh[0]));
}

#[tokio::test]
async fn a_statement_that_fails_leaves_nothing_either() {
    let world = world().await;
    let fresh = world.states().await;
    let failing =
        "select pg_advisory_lock(7); select set_config('app.user', 'eve', false); select 1 / 0";
    for _ in 0..4 {
        assert_ne!(world.run_by_post(failing).await.status(), StatusCode::OK);
        for level in ["strong", "eventual"] {
            assert_ne!(
                world.run_by_get(failing, level).await.status(),
                StatusCode::OK
            );
        }
    }
    let states = world.states().await;
    assert!(states.iter().all(|state| *state == fresh[0]), "{states:?}");
}

/// Commits fail at the gateway's only connection, each with a lock that its session would keep.
#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_and_closes_no_connection() {
    let schema = "
        create table seats (number int unique deferrable initially deferred);
        insert into seats values (1)";
    let endpoints = r#"
        [pool]
        connections_min = 1
        connections_max = 1
        [[endpoint]]
        method = "POST"
        path = "/seats"
        sql = "insert into seats values (1) returning pg_try_advisory_lock(7) as locked"
        [[endpoint]]
        method = "POST"
        path = "/session"
        single = true
        sql = "select pg_backend_pid() as pid, (select count(*) from pg_locks where locktype = 'advisory') as locks"
        "#;
    let world = World::with_file(schema, endpoints).await;
    let session = async || {
        let response = world.request(Method::POST, "/session").send().await;
        response.unwrap().json::<Value>().await.unwrap()
    };
    let before = session().await;
    assert_eq!(before["locks"], 0);
    for _ in 0..16 {
        let taken = world.request(Method::POST, "/seats").send().await.unwrap();
        assert_eq!(taken.status(), StatusCode::CONFLICT);
        assert_eq!(session().await, before);
    }
}

#[tokio::test]
async fn reads_beside_one_that_changes_its_session_see_their_own_tables() {
    let world = world().await;
    let leak = "select set_config('search_path', 'other', false)";
    for _ in 0..20 {
        let leaks = join_all((0..8).map(|_| world.run_by_get(leak, "eventual")));
        let reads = join_all((0..32).map(async |_| {
            let response = world.get("/accounts/1").await;
            response.json::<Value>().await.unwrap()["name"].clone()
        }));
        let (_, names) = tokio::join!(leaks, reads);
        assert!(names.iter().all(|name| name == "alice"), "{names:?}");
    }
}

#[tokio::test]
async fn a_get_never_writes() {
    let world = world().await;
    let writable = "select set_config('default_transaction_read_only', 'off', false)";
    let insert = "insert into accounts values (2, 'eve')";
    for _ in 0..8 {
        world.run_by_post(writable).await;
        world.run_by_get(writable, "strong").await;
        let response = world.run_by_get(insert, "strong").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let both = format!("set transaction read write; {insert}");
        let response = world.run_by_get(&both, "strong").await;
        assert_ne!(response.status(), StatusCode::OK);
    }
    let count = world.cluster.primary.value("select count(*) from accounts");
    assert_eq!(count.await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn reads_go_on_when_a_function_gives_up_all_prepared_statements() {
    let world = world().await;
    for level in ["strong", "eventual", "session"] {
        for _ in 0..4 {
            world.run_by_get("deallocate all", level).await;
            let posted = world.run_by_post("deallocate all").await;
            assert_eq!(posted.status(), StatusCode::OK);
            let reads = (0..16).map(|_| world.get_at("/accounts/1", level));
            for response in join_all(reads).await {
                assert_eq!(response.status(), StatusCode::OK);
                let token = response.headers().contains_key("x-consistency-token");
                assert_eq!(token, level != "eventual");
            }
        }
    }
}

#[tokio::test]
async fn neither_seeds_nor_numbers_of_sequences_are_left() {
    let world = world().await;
    let mut numbers = Vec::new();
    for _ in 0..8 {
        let seeded = world.run_by_get("select setseed(0.5)", "strong").await;
        assert_eq!(seeded.status(), StatusCode::OK);
        let random = world.get_at("/random", "strong").await;
        numbers.push(random.json::<Value>().await.unwrap()["random"].to_string());
        let next = world
            .request(Method::POST, "/numbers/next")
            .send()
            .await
            .unwrap();
        assert_eq!(next.status(), StatusCode::OK);
        let current = world
            .request(Method::POST, "/numbers/current")
            .send()
            .await
            .unwrap();
        assert_eq!(current.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 8, "{numbers:?}");
}

#[tokio::test]
async fn only_reads_that_can_leave_nothing_keep_their_session() {
    let functions = "
        create table accounts (id int primary key, name text);
        create table kept (id int primary key, name text);
        alter table kept enable row level security;
        create view names as select name from accounts;
        create domain positive as int check (value > 0);
        create table sized (id int primary key, size positive);
        create function name_of(i int) returns text language plpgsql stable
            as 'begin return (select name from accounts where id = i); end';
        create function shout(i int) returns text language sql stable as 'select upper(name_of(i))';
        create function run(statements text) returns text language plpgsql
            as 'begin execute statements; return ''done''; end';
        create function hidden(i int) returns text language sql as 'select run(''listen a'')'";
    let reads = [
        ("select name from accounts where id = :path.id", true),
        ("select size from sized where id = :path.id", true),
        ("select name_of(:path.id)", true),
        ("select shout(:path.id)", true),
        ("select random(), pg_sleep(0)::text", true),
        ("select run('select 1')", false),
        ("select hidden(:path.id)", false),
        ("select name from kept where id = :path.id", false),
        ("select name from names", false),
        ("select set_config('a.b', :path.id, false)", false),
        ("select pg_try_advisory_lock(:path.id)", false),
    ];
    let endpoint = |(number, (sql, _)): (usize, &(&str, bool))| {
        let path = format!("/read-{number}/{{id}}");
        format!("[[endpoint]]\nmethod = 'GET'\npath = '{path}'\nsql = \"{sql}\"\n")
    };
    let endpoints: String = reads.iter().enumerate().map(endpoint).collect();
    let world = World::with_file(functions, &endpoints).await;
    let kept = reads.iter().filter(|(_, kept)| *kept).count() as f64;
    let reset = reads.len() as f64 - kept;
    for node in ["primary", "eu-west-1"] {
        for (session, expected) in [("kept", kept), ("reset", reset)] {
            let series = format!("tidegate_statements{{node=\"{node}\",session=\"{session}\"}}");
            let count = world.metric_turns(&series, |count| count > 0.0).await;
            assert!((count - expected).abs() < 0.5, "{series}: {count}");
        }
    }
}
