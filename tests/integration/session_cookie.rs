//! A browser's session without any code in the page.

use reqwest::{Method, Response};

use crate::world::{DEADLINE, World, client, gateway_of, header, migrated_cluster, problem};

const CONFIG: &str = r#"
[[policy]]
path = "/notes/*"
consistency = "session"
session_cookie = true

[[policy]]
path = "/plain/*"
consistency = "session"

[[endpoint]]
method = "POST"
path = "/notes/{name}"
status = 201
sql = "insert into accounts (name) values (:path.name) returning name"
single = true

[[endpoint]]
method = "GET"
path = "/notes/{name}"
sql = "select name from accounts where name = :path.name"
single = true

[[endpoint]]
method = "GET"
path = "/plain/{name}"
sql = "select name from accounts where name = :path.name"
single = true
"#;

async fn world() -> World {
    let cluster = migrated_cluster(1).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let gateway = gateway_of(&cluster).env("TIDEGATE_CONFIG", file);
    let gateway = gateway.start().await.unwrap();
    let world = World {
        cluster,
        gateway,
        client: client(),
    };
    world.ready().await;
    world
}

/// The cookie that a browser would send back.
fn cookie(response: &Response) -> String {
    let (pair, attributes) = header(response, "set-cookie").split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax");
    let token = header(response, "x-consistency-token");
    assert_eq!(pair, format!("__Host-tidegate-session={token}"));
    pair.to_owned()
}

async fn get(world: &World, path: &str, cookie: &str) -> Response {
    let request = world.request(Method::GET, path).header("Cookie", cookie);
    request.timeout(DEADLINE).send().await.unwrap()
}

#[tokio::test]
async fn a_browser_reads_its_own_write_by_its_cookie_alone() {
    let world = world().await;
    world.cluster.replicas[0].pause_replay().await.unwrap();
    let request = world.request(Method::POST, "/notes/zoe");
    let written = request.send().await.unwrap();
    assert_eq!(written.status(), 201, "{}", written.text().await.unwrap());
    let session = cookie(&written);

    assert_eq!(world.get("/notes/zoe").await.status(), 404, "no session");
    let read = get(&world, "/notes/zoe", &format!("theme=dark; {session}")).await;
    assert_eq!(read.status(), 200);
    assert_eq!(header(&read, "x-route-primary"), "true");
    assert_eq!(header(&read, "cache-control"), "no-store, private");
    cookie(&read);

    let elsewhere = get(&world, "/plain/zoe", &session).await;
    assert_eq!(
        elsewhere.status(),
        404,
        "the cookie counts only if the row enables it"
    );
    world.cluster.replicas[0].resume_replay().await.unwrap();
}

#[tokio::test]
async fn a_malformed_cookie_is_replaced_and_a_malformed_header_refused() {
    let world = world().await;
    let read = get(&world, "/notes/alice", "__Host-tidegate-session=broken").await;
    assert_eq!(read.status(), 200);
    cookie(&read);
    let plain = world.get("/plain/alice").await;
    assert_eq!(header(&plain, "set-cookie"), "");
    assert!(!header(&plain, "x-consistency-token").is_empty());
    let request = world.request(Method::GET, "/notes/alice");
    let refused = request.header("X-Consistency-Token", "broken").send().await;
    problem(refused.unwrap(), 400, "invalid-token").await;
}
