//! Thousands of interleaved requests of many users over few connections.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::{SCHEMA, file, json_of, user};
use crate::world::{World, told};

/// At a time, over three connections to each of two nodes.
const CONCURRENT: usize = 24;
const REQUESTS: usize = 3_000;

/// One of the things that a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Read,
    Write,
    Fail,
    TimeOut,
    Leave,
    BeNasty,
    /// A request without settings, on the same connections.
    Own,
}

/// How acts ended, by the node that answered.
type Counts = Mutex<BTreeMap<(Act, String, u16), usize>>;

impl Act {
    fn any(number: usize) -> Self {
        match number % 20 {
            0..7 => Self::Read,
            7..9 => Self::Write,
            9..11 => Self::Fail,
            11 => Self::TimeOut,
            12..15 => Self::Leave,
            15..17 => Self::BeNasty,
            _ => Self::Own,
        }
    }

    fn request(self, number: usize) -> (Method, String) {
        let get = |path: &str| (Method::GET, path.to_owned());
        match self {
            Self::Read => get("/items"),
            Self::Write => (Method::POST, "/items".to_owned()),
            Self::Fail => get("/failing"),
            Self::TimeOut => get("/slow?s=0.1"),
            // Some leave before, some while, some after the statement runs.
            Self::Leave => get(&format!("/slow?s=0.00{}", number % 10)),
            Self::BeNasty if number.is_multiple_of(2) => (Method::POST, "/nasty".to_owned()),
            Self::BeNasty => get("/nasty"),
            Self::Own => get("/own"),
        }
    }

    /// Sees to it that an answer shows what its user may see.
    fn judge(self, name: &str, body: &Value) {
        match self {
            Self::Own => {
                assert_eq!(body["role"], "tidegate", "{body}");
                assert!(
                    body["app_user"].is_null() && body["tenant"].is_null(),
                    "{body}"
                );
                assert_eq!(body["read_only"], "on");
            }
            Self::BeNasty => {}
            Self::Read | Self::Write | Self::Fail | Self::TimeOut | Self::Leave => {
                let rows = body.as_array().unwrap();
                assert!(!rows.is_empty(), "{name} has rows");
                let foreign = rows.iter().find(|row| row["owner"] != name);
                assert_eq!(foreign, None, "{self:?} of {name}");
            }
        }
    }
}

async fn act(world: &World, number: usize, counts: &Counts) {
    let number = number.wrapping_mul(7_919);
    let (act, name) = (Act::any(number / 20), format!("user{}", number % 20));
    let (method, path) = act.request(number);
    let level = if number.is_multiple_of(3) {
        "strong"
    } else {
        "eventual"
    };
    let request = |client: &Client| {
        let request = client.request(method, world.gateway.url(&path));
        request
            .bearer_auth(user(&name))
            .header("X-Consistency", level)
    };
    if act == Act::Leave {
        // A connection of its own, which is closed when the future is dropped.
        let send = request(&Client::new()).send();
        let _left = timeout(Duration::from_millis((number % 9) as u64), send).await;
        let left = (act, String::new(), 0);
        *counts.lock().unwrap().entry(left).or_default() += 1;
        return;
    }
    let response = request(&world.client).send().await.unwrap();
    let (status, node) = (response.status(), told(&response, "node").to_owned());
    if status == StatusCode::OK {
        act.judge(&name, &json_of(response).await);
    }
    let ended = (act, node, status.as_u16());
    *counts.lock().unwrap().entry(ended).or_default() += 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_another_row_through_errors_time_outs_and_clients_that_leave() {
    // Clients that leave cost connections.
    let file =
        file().replace("\"2s\"", "\"250ms\"") + "[steering]\nreconnects_per_second_max = 1000\n";
    let world = World::with_file(SCHEMA, &file).await;
    let counts = Counts::default();
    let acts = (0..REQUESTS).map(|number| act(&world, number, &counts));
    let acts = stream::iter(acts).buffer_unordered(CONCURRENT);
    acts.for_each(|()| async {}).await;
    let counts = counts.into_inner().unwrap();
    let count = |of: Act, on: &str, status: u16| {
        let counts = counts.iter();
        let counts = counts.filter(|((act, node, code), _)| {
            (*act, *code) == (of, status) && (on.is_empty() || node == on)
        });
        counts.map(|(_, count)| *count).sum::<usize>()
    };
    println!("{counts:?}");
    for node in ["primary", "replica"] {
        assert!(count(Act::Read, node, 200) > 100, "{node}: {counts:?}");
        assert!(count(Act::Own, node, 200) > 50, "{node}: {counts:?}");
    }
    assert!(count(Act::Write, "primary", 200) > 50, "{counts:?}");
    assert!(count(Act::BeNasty, "", 200) > 50, "{counts:?}");
    assert!(count(Act::TimeOut, "", 504) > 10, "{counts:?}");
    assert!(count(Act::Leave, "", 0) > 100, "{counts:?}");
    assert_eq!(count(Act::Fail, "", 200), 0, "{counts:?}");
}
