//! SQL endpoints behind a tunnel: bodies, tokens, and a region without its primary.

use http::Method;
use nix::sys::signal::Signal;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tidegate::testkit::GatewayProcess;

use super::kit::{entry, serving};
use crate::fleet::{EU, Pair, US, wait_for_state};
use crate::world::{client, header, wait_ready};

const ENDPOINTS: &str = "\
[[policy]]
path = \"/notes\"
consistency = \"strong\"
session_cookie = true
[[endpoint]]
method = \"POST\"
path = \"/notes\"
sql = \"insert into notes values (:body.text) returning text\"
[[endpoint]]
method = \"GET\"
path = \"/notes\"
sql = \"select count(*) as notes from notes\"
[[policy]]
path = \"/kept\"
consistency = \"eventual\"
cache_control = \"public, max-age=300\"
[[endpoint]]
method = \"GET\"
path = \"/kept\"
sql = \"select count(*) as notes from notes\"
";

struct Scene {
    pair: Pair,
    entry: GatewayProcess,
    other: GatewayProcess,
    client: Client,
}

impl Scene {
    /// The other region's gateway may have another database.
    async fn new(other_database: Option<&str>) -> Self {
        let pair = Pair::new().await;
        let table = "create table notes (text text not null)";
        pair.cluster.primary.execute(table).await.unwrap();
        let policy = pair.file("traffic.policy");
        let text = "region eu-west-1\nregion us-east-1\npolicy away { prefer us-east-1 | local }\n";
        std::fs::write(&policy, text).unwrap();
        let entry = pair.command_with(EU, 0, ENDPOINTS);
        let entry = entry.env("TIDEGATE_TRAFFIC_POLICY", policy).start();
        let other = pair.command_with(US, 1, ENDPOINTS);
        let other = match other_database {
            Some(url) => other.env("DATABASE_URL", url),
            None => other,
        };
        let (entry, other) = (entry.await.unwrap(), other.start().await.unwrap());
        let client = client();
        wait_ready(&client, &entry).await;
        if other_database.is_none() {
            wait_ready(&client, &other).await;
        }
        wait_for_state(&entry, US, "well").await;
        Self {
            pair,
            entry,
            other,
            client,
        }
    }

    fn request(&self, method: Method) -> RequestBuilder {
        self.client.request(method, self.entry.url("/notes"))
    }

    fn note(&self) -> RequestBuilder {
        self.request(Method::POST).json(&json!({"text": "é"}))
    }
}

#[tokio::test]
async fn writes_and_tokens_pass_a_tunnel() {
    let scene = Scene::new(None).await;
    let written = scene.note().send().await.unwrap();
    assert_eq!(serving(&written), "us-east-1");
    let expected = "eu-west-1; fwd=us-east-1; policy=away; reason=named";
    assert_eq!(entry(&written), expected);
    assert_eq!(header(&written, "x-route-primary"), "true");
    let token = header(&written, "x-consistency-token").to_owned();
    assert_eq!(written.headers().get_all("set-cookie").iter().count(), 1);
    assert_eq!(
        written.json::<Value>().await.unwrap(),
        json!([{"text": "é"}])
    );

    let read = scene.request(Method::GET);
    let read = read
        .header("x-consistency-token", &token)
        .send()
        .await
        .unwrap();
    assert_eq!((read.status().as_u16(), serving(&read)), (200, "us-east-1"));
    assert_eq!(read.json::<Value>().await.unwrap(), json!([{"notes": 1}]));
    let head = scene.request(Method::HEAD).send().await.unwrap();
    assert_eq!((head.status().as_u16(), serving(&head)), (200, "us-east-1"));

    let invalid = scene.request(Method::POST).body("{").send().await.unwrap();
    assert!(invalid.status().is_client_error());
    assert_eq!(
        serving(&invalid),
        "eu-west-1",
        "bodies are read where they enter"
    );
}

#[tokio::test]
async fn an_answer_that_is_kept_says_who_has_served_it_while_it_is_new() {
    let scene = Scene::new(None).await;
    let get = || scene.client.get(scene.entry.url("/kept")).send();
    let first = get().await.unwrap();
    assert_eq!(header(&first, "cache-status"), "tidegate; fwd=miss; stored");
    assert_eq!(serving(&first), "us-east-1");
    let expected = "eu-west-1; fwd=us-east-1; policy=away; reason=named";
    assert_eq!(entry(&first), expected);
    let second = get().await.unwrap();
    assert!(header(&second, "cache-status").starts_with("tidegate; hit"));
    assert_eq!(serving(&second), "eu-west-1");
    assert!(!header(&second, "consistency-status").contains("fwd="));
}

#[tokio::test]
async fn a_write_goes_on_to_a_region_that_reaches_the_primary() {
    let scene = Scene::new(Some("postgres://app@127.0.0.1:1/app")).await;
    let written = scene.note().send().await.unwrap();
    assert_eq!(
        (written.status().as_u16(), serving(&written)),
        (200, "eu-west-1")
    );
    let expected = "eu-west-1; policy=away; reason=no-tunnel";
    assert_eq!(entry(&written), expected);
    let count = scene.request(Method::GET).send().await.unwrap();
    assert_eq!(count.json::<Value>().await.unwrap(), json!([{"notes": 1}]));
}

#[tokio::test]
async fn after_a_kill_a_write_that_was_not_sent_is_served_here() {
    let scene = Scene::new(None).await;
    assert_eq!(serving(&scene.note().send().await.unwrap()), "us-east-1");
    scene.other.signal(Signal::SIGKILL);
    wait_for_state(&scene.entry, US, "unreachable").await;
    let written = scene.note().send().await.unwrap();
    assert_eq!(
        (written.status().as_u16(), serving(&written)),
        (200, "eu-west-1")
    );
    let primary = &scene.pair.cluster.primary;
    let notes = primary.value("select count(*) from notes").await.unwrap();
    assert_eq!(notes.as_deref(), Some("2"));
}
