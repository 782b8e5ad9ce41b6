//! `tidegate init` on a real database: what it writes is accepted by `check` and served.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::testkit::{Cluster, GatewayCommand};

use crate::world::{BINARY, World, gateway_of, printed};

const SCHEMA: &str = "
    create table notes (
        id bigint generated always as identity primary key,
        author text not null,
        \"Text\" text not null,
        stars int,
        words int generated always as (length(\"Text\")) stored,
        at timestamptz not null default now()
    );
    create table hidden (id int primary key);
    create schema shop;
    create table shop.orders (day date, number int, total numeric, primary key (day, number));
    create role app login;
    grant select, insert on notes to app;
    grant usage on schema shop to app;
    grant select on shop.orders to app;
    grant pg_read_all_stats to app;
    insert into shop.orders values ('2026-01-02', 3, 4.50);
";

fn init(url: &str) -> GatewayCommand {
    GatewayCommand::new(BINARY, "init").env("DATABASE_URL", url)
}

/// The URL of the primary for the role that may not do everything.
fn url(cluster: &Cluster) -> String {
    format!("postgres://app@{}/postgres", cluster.primary.address())
}

/// What a command that fails says, and its code.
async fn refusal(command: GatewayCommand) -> (Option<i32>, String) {
    let output = command.output().await.unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    (output.status.code(), line)
}

#[tokio::test]
async fn what_is_written_is_accepted_and_served() {
    let cluster = Cluster::start(1).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tidegate.toml");
    let printed_text = printed(init(&url(&cluster)).arg("--out").arg(&file)).await;
    assert_eq!(printed_text, "");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(printed(init(&url(&cluster))).await, text);
    assert!(!text.contains("hidden"), "{text}");
    assert!(text.contains("# A replica streams to 127.0.0.1"), "{text}");
    let check = GatewayCommand::new(BINARY, "check")
        .env("TIDEGATE_CONFIG", &file)
        .env("REGION", "eu-west-1")
        .env("DATABASE_URL", url(&cluster));
    printed(check).await;

    let gateway = gateway_of(&cluster)
        .env("TIDEGATE_CONFIG", &file)
        .env("DATABASE_URL", url(&cluster));
    let world = World::over(cluster, gateway).await;
    let note = json!({"author": "alice", "Text": "hello", "stars": 5});
    let unsigned = world.request(Method::POST, "/notes").json(&note);
    assert_eq!(unsigned.send().await.unwrap().status(), 401);
    let note = json_of(world.post("alice", "/notes", "k", &note).await, 201).await;
    assert_eq!(
        (&note["Text"], &note["words"]),
        (&json!("hello"), &json!(5))
    );
    let order = world.get_as("alice", "/shop/orders/2026-01-02/3").await;
    assert_eq!(json_of(order, 200).await["total"], json!(4.5));
}

async fn json_of(response: Response, status: u16) -> Value {
    let told = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(told, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_no_file_is_touched() {
    let cluster = Cluster::start(1).await.unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, "mine").unwrap();
    let (code, line) = refusal(init(&cluster.primary.url()).arg("--out").arg(&file)).await;
    assert_eq!(code, Some(2), "{line}");
    assert!(
        line.contains("--out = \"") && line.contains("it exists already"),
        "{line}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");

    let absent = folder.path().join("absent.toml");
    let replica = init(&cluster.replicas[0].url()).arg("--out").arg(&absent);
    let (code, line) = refusal(replica).await;
    assert_eq!(code, Some(2), "{line}");
    assert!(
        line.contains("DATABASE_URL = ") && line.contains("is a replica"),
        "{line}"
    );
    let nowhere = folder.path().join("nowhere").join("x.toml");
    let (code, line) = refusal(init(&cluster.primary.url()).arg("--out").arg(&nowhere)).await;
    assert_eq!(code, Some(2), "{line}");
    let (code, line) = refusal(
        init("postgres://app:hunter2@127.0.0.1:1/app")
            .arg("--out")
            .arg(&absent),
    )
    .await;
    assert_eq!(code, Some(1), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
    let (code, line) = refusal(GatewayCommand::new(BINARY, "init")).await;
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("DATABASE_URL: is required"), "{line}");
    assert!(!absent.exists());
}
