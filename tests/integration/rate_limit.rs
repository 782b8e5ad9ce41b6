//! The rate limit of a policy row, applied to clients by addresses that they cannot choose.

use std::net::IpAddr;

use reqwest::{Client, Response, StatusCode};
use tidegate::testkit::{Cluster, until};

use crate::world::{DEADLINE, World, gateway_of, header, problem, reload};

/// Two rows with the same limit. Budgets are restored so slowly that no test sees it.
const TWO_AN_HOUR: &str = r#"
[server]
trusted_proxies = ["127.0.0.1", "130.176.0.0/16"]
[[policy]]
path = "/word"
rate_limit = "2/h"
[[policy]]
path = "/other"
rate_limit = "2/h"
[[endpoint]]
method = "GET"
path = "/word"
sql = "select 'word' as word"
[[endpoint]]
method = "GET"
path = "/other"
sql = "select 'other' as word"
"#;

impl World {
    /// Sends a GET as the proxy at 127.0.0.1, for a client that it names.
    async fn get_for(&self, client: &str, path: &str) -> u16 {
        let response = self.get_with(path, "X-Forwarded-For", client).await;
        response.status().as_u16()
    }

    /// Statuses of three GETs of `/word`.
    async fn thrice_for(&self, clients: [&str; 3]) -> [u16; 3] {
        let mut statuses = [0; 3];
        for (status, client) in statuses.iter_mut().zip(clients) {
            *status = self.get_for(client, "/word").await;
        }
        statuses
    }
}

#[tokio::test]
async fn a_client_that_has_spent_its_budget_is_told_when_to_come_back() {
    let world = World::alone(TWO_AN_HOUR).await;
    let told = |response: &Response| {
        let policy = header(response, "ratelimit-policy");
        assert_eq!(policy, r#""/word";q=2;w=3600"#);
        header(response, "ratelimit").to_owned()
    };
    let first = world.get("/word").await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(told(&first), r#""/word";r=1;t=1800"#);
    let second = world.get("/word").await;
    assert_eq!(told(&second), r#""/word";r=0;t=1800"#);
    let refused = world.get("/word").await;
    let wait: u32 = header(&refused, "retry-after").parse().unwrap();
    assert!((1_700..=1_800).contains(&wait), "{wait}");
    assert_eq!(told(&refused), format!(r#""/word";r=0;t={wait}"#));
    let detail = problem(refused, 429, "rate-limited").await;
    assert!(detail.ends_with("the limit here is 2/h"), "{detail}");

    assert_eq!(world.get("/other").await.status(), StatusCode::OK);
    let series = r#"tidegate_rate_limited_total{policy="/word"}"#;
    assert_eq!(world.metric_turns(series, |value| value > 0.0).await, 1.0);
    let line = world
        .gateway
        .wait_for_log(r#""problem":"rate-limited""#)
        .await;
    let line = line.unwrap();
    assert!(line.contains(r#""endpoint":"/word""#), "{line}");
    assert!(
        !line.contains("127.0.0.1"),
        "addresses must not be logged: {line}"
    );
    let health = world.get("/health/live").await;
    assert!(header(&health, "ratelimit-policy").is_empty());
}

#[tokio::test]
async fn clients_behind_trusted_proxies_are_told_apart_and_cannot_choose_their_address() {
    let world = World::alone(TWO_AN_HOUR).await;
    let served_twice = [200, 200, 429];
    let one = ["203.0.113.1", "203.0.113.1", "203.0.113.1"];
    assert_eq!(world.thrice_for(one).await, served_twice);
    // A client's own entries are to the left of those that proxies append.
    let spoofed = [
        "1.1.1.1, 203.0.113.2",
        "2.2.2.2, 203.0.113.2",
        "x, 203.0.113.2, 130.176.0.9",
    ];
    assert_eq!(world.thrice_for(spoofed).await, served_twice);
    let spoofed = [
        "127.0.0.1, 203.0.113.1",
        "203.0.113.9, 203.0.113.1",
        "203.0.113.1:80",
    ];
    assert_eq!(world.thrice_for(spoofed).await, [429; 3]);
    // An entry that is not an address counts for no client, but for the proxy.
    let rubbish = ["rubbish", "", "203.0.113.3, unknown"];
    assert_eq!(world.thrice_for(rubbish).await, served_twice);
    let long = "x".repeat(20_000);
    assert_eq!(world.get_for(&long, "/word").await, 429);
    let subnet = ["2001:db8::1", "[2001:db8::2]:443", "2001:db8::ffff:0:0:1"];
    assert_eq!(world.thrice_for(subnet).await, served_twice);
    assert_eq!(world.get_for("2001:db8:0:1::1", "/word").await, 200);
}

#[tokio::test]
async fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_says() {
    let world = World::alone(TWO_AN_HOUR).await;
    let stranger: IpAddr = "127.0.0.2".parse().unwrap();
    let stranger = Client::builder().local_address(stranger).build().unwrap();
    let mut statuses = Vec::new();
    for claimed in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        let request = stranger.get(world.gateway.url("/word"));
        let response = request
            .header("X-Forwarded-For", claimed)
            .send()
            .await
            .unwrap();
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(world.get_for("203.0.113.1", "/word").await, 200);
}

#[tokio::test]
async fn a_refusal_costs_no_credentials_no_body_and_no_node() {
    let mut world = World::alone(
        r#"
        [[policy]]
        path = "/notes"
        rate_limit = "1/h"
        [[policy]]
        path = "/word"
        rate_limit = "1/h"
        [[endpoint]]
        method = "POST"
        path = "/notes"
        auth = "jwt"
        sql = "select :body.text::text as text"
        [[endpoint]]
        method = "GET"
        path = "/word"
        sql = "select 'word' as word"
        "#,
    )
    .await;
    problem(world.post_json("/notes", "{}").await, 401, "unauthorized").await;
    problem(world.post_json("/notes", "{}").await, 429, "rate-limited").await;
    // Announced but never sent: reading it would wait.
    let head = "POST /notes HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n";
    let refused = world.send_raw(head.as_bytes()).await;
    assert!(refused.is_problem(429, "rate-limited"), "{}", refused.head);

    world.cluster.primary.kill().await.unwrap();
    problem(world.get("/word").await, 503, "no-primary").await;
    problem(world.get("/word").await, 429, "rate-limited").await;
}

#[tokio::test]
async fn a_budget_comes_back_at_the_rate() {
    let file = TWO_AN_HOUR.replace("2/h", "1/s");
    let world = World::alone(&file).await;
    assert_eq!(world.get_for("203.0.113.1", "/word").await, 200);
    let again = async || Ok((world.get_for("203.0.113.1", "/word").await == 200).then_some(()));
    until("the client may ask again", DEADLINE, again)
        .await
        .unwrap();
}

#[tokio::test]
async fn answers_for_everybody_do_not_say_what_one_client_has_left() {
    let public = "consistency = \"eventual\"\ncache_control = \"public, max-age=60\"\n";
    let file = TWO_AN_HOUR.replace(
        "path = \"/word\"\nrate",
        &format!("path = \"/word\"\n{public}rate"),
    );
    assert_ne!(file, TWO_AN_HOUR);
    let world = World::alone(&file).await;
    let shared = world.get("/word").await;
    assert_eq!(header(&shared, "cache-control"), "public, max-age=60");
    assert_eq!(header(&shared, "ratelimit-policy"), r#""/word";q=2;w=3600"#);
    assert_eq!(header(&shared, "ratelimit"), "");
    let own = world.get_at("/word", "strong").await;
    assert_eq!(header(&own, "ratelimit"), r#""/word";r=0;t=1800"#);
    let refused = world.get("/word").await;
    assert!(header(&refused, "ratelimit").starts_with(r#""/word";r=0;t="#));
    problem(refused, 429, "rate-limited").await;
}

#[tokio::test]
async fn a_reload_keeps_the_budgets_of_unchanged_rows() {
    let cluster = Cluster::start(0).await.unwrap();
    let path = cluster.workspace().path().join("limited.toml");
    std::fs::write(&path, TWO_AN_HOUR).unwrap();
    let gateway = gateway_of(&cluster).env("TIDEGATE_CONFIG", &path);
    let world = World::over(cluster, gateway).await;
    for row in ["/word", "/other"] {
        for status in [200, 200, 429] {
            assert_eq!(world.get_for("203.0.113.1", row).await, status);
        }
    }
    let changed = "path = \"/other\"\nrate_limit = \"3/h\"";
    let file = TWO_AN_HOUR.replace("path = \"/other\"\nrate_limit = \"2/h\"", changed);
    reload(&world.gateway, &path, &file).await;
    assert_eq!(world.get_for("203.0.113.1", "/word").await, 429);
    assert_eq!(world.get_for("203.0.113.1", "/other").await, 200);
}
