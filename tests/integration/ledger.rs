//! Money: each write takes effect once, is visible only to its owner, and neither creates nor loses
//! money.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::world::{DEADLINE, World, header, jwt, problem, rows};

/// The five writes of the built-in API and the kind of what each creates.
const PAYMENTS: [(&str, &str); 5] = [
    ("/api/v1/onramp", "onramp"),
    ("/api/v1/offramp", "offramp"),
    ("/api/v1/mint", "mint"),
    ("/api/v1/redemptions", "redemption"),
    ("/api/v1/transfers", "transfer"),
];

const TRANSFERS: &str = "/api/v1/transfers";

/// All the money there is, by the entries and by the balances; both are zero when none was made.
const SUMS: &str = "select (select sum(amount) from entries) || ' ' || \
                    (select sum(amount) from balances)";

fn transfer(to: &str, amount: &str) -> Value {
    json!({ "to": to, "currency": "USD", "amount": amount })
}

async fn json(response: reqwest::Response) -> Value {
    response.json().await.unwrap()
}

/// An account's balance in US dollars, in cents.
async fn cents(world: &World, account: &str) -> i64 {
    let balances = json(world.get_as(account, "/account/balances").await).await;
    let balances = balances.as_array().unwrap();
    let dollars = balances.iter().find(|row| row["currency"] == "USD");
    in_cents(dollars.unwrap()["amount"].as_str().unwrap())
}

fn in_cents(amount: &str) -> i64 {
    amount.replace('.', "").parse().unwrap()
}

#[tokio::test]
async fn a_payment_is_created_and_shown_to_its_owner_alone() {
    let world = World::start().await;
    for (path, kind) in PAYMENTS {
        let mut body = json!({ "currency": "USD", "amount": "25.50" });
        if kind == "transfer" {
            body["to"] = "bob".into();
        }
        let response = world.post("alice", path, kind, &body).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{path}");
        assert_eq!(header(&response, "cache-control"), "no-store, private");
        assert_eq!(header(&response, "x-route-primary"), "true");
        assert_eq!(header(&response, "x-consistency-token").len(), 50);
        let status = header(&response, "consistency-status");
        assert!(status.ends_with("reason=write"), "{status}");
        let created = json(response).await;
        let expected = match kind {
            "transfer" | "mint" => "completed",
            _ => "pending",
        };
        assert_eq!(created["kind"], kind);
        assert_eq!(created["status"], expected);
        assert_eq!(created["currency"], "USD");
        assert_eq!(created["amount"], "25.50");
        assert!(created["created_at"].is_string());
        let id = created["id"].as_i64().unwrap();
        for same in [format!("{path}/{id}"), format!("/api/v1/transactions/{id}")] {
            let response = world.get_as("alice", &same).await;
            assert_eq!(header(&response, "x-route-primary"), "true");
            assert_eq!(json(response).await, created, "{same}");
        }
        let foreign = world.get_as("carol", &format!("{path}/{id}")).await;
        problem(foreign, 404, "not-found").await;
        let foreign = world
            .get_as("carol", &format!("/api/v1/transactions/{id}"))
            .await;
        problem(foreign, 404, "not-found").await;
    }
    // Off-ramp and redemption take the money at once, the on-ramp brings it later.
    assert_eq!(cents(&world, "alice").await, 100_000 - 3 * 2_550 + 2_550);
    assert_eq!(cents(&world, "bob").await, 100_000 + 2_550);

    let mine = json(world.get_as("bob", "/api/v1/transactions?limit=1").await).await;
    let received = &mine[0];
    assert_eq!(
        (&received["from"], &received["to"], &received["kind"]),
        (&"alice".into(), &"bob".into(), &"transfer".into())
    );
    let id = &received["id"];
    let seen = world
        .get_as("bob", &format!("/api/v1/transactions/{id}"))
        .await;
    assert_eq!(seen.status(), StatusCode::OK);
    // A transfer is its sender's object, and an object of another kind is none of this one.
    for elsewhere in ["transfers", "mint"] {
        let account = if elsewhere == "mint" { "alice" } else { "bob" };
        let hidden = world
            .get_as(account, &format!("/api/v1/{elsewhere}/{id}"))
            .await;
        problem(hidden, 404, "not-found").await;
    }
    let detail = world.get_as("alice", "/api/v1/transfers/soon").await;
    assert_eq!(
        problem(detail, 400, "invalid-parameter").await,
        "path parameter \"id\" is not an integer in range"
    );
}

#[tokio::test]
async fn a_key_acts_once_and_a_refusal_is_not_remembered() {
    let world = World::start().await;
    let body = transfer("bob", "10.00");
    let first = world.post("alice", TRANSFERS, "rent", &body).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let first = first.bytes().await.unwrap();
    let again = world.post("alice", TRANSFERS, "rent", &body).await;
    assert_eq!(again.status(), StatusCode::CREATED);
    assert_eq!(again.bytes().await.unwrap(), first);
    assert_eq!(cents(&world, "alice").await, 99_000);

    // The same request may be spelled differently; other values make it another one.
    let spelled = r#"{ "amount":"10.00", "to":"bob", "note":"ignored", "currency":"USD" }"#;
    let request = world
        .request(Method::POST, TRANSFERS)
        .bearer_auth(jwt("alice").await)
        .header("Idempotency-Key", "rent")
        .header("Content-Type", "application/json; charset=utf-8");
    let spelled = request.body(spelled).send().await.unwrap();
    assert_eq!(spelled.bytes().await.unwrap(), first);
    for (path, other) in [
        (TRANSFERS, transfer("bob", "11.00")),
        (TRANSFERS, transfer("carol", "10.00")),
        (
            "/api/v1/mint",
            json!({ "currency": "USD", "amount": "10.00" }),
        ),
    ] {
        let reused = world.post("alice", path, "rent", &other).await;
        let detail = problem(reused, 409, "conflict").await;
        assert_eq!(detail, "the Idempotency-Key was used for another request");
    }
    assert_eq!(cents(&world, "alice").await, 99_000);

    // A key belongs to its account.
    let other = world
        .post("carol", TRANSFERS, "rent", &transfer("bob", "1.00"))
        .await;
    assert_eq!(other.status(), StatusCode::CREATED);

    let racers = (0..8).map(|_| world.post("alice", TRANSFERS, "race", &body));
    let mut answers = BTreeSet::new();
    for response in join_all(racers).await {
        assert_eq!(response.status(), StatusCode::CREATED);
        answers.insert(response.bytes().await.unwrap());
    }
    assert_eq!(answers.len(), 1);
    assert_eq!(cents(&world, "alice").await, 98_000);

    let much = transfer("alice", "1500.00");
    let refused = world.post("dave", TRANSFERS, "late", &much).await;
    assert_eq!(
        problem(refused, 422, "rejected").await,
        "insufficient funds"
    );
    let mint = json!({ "currency": "USD", "amount": "600.00" });
    let minted = world.post("dave", "/api/v1/mint", "more", &mint).await;
    assert_eq!(minted.status(), StatusCode::CREATED);
    let accepted = world.post("dave", TRANSFERS, "late", &much).await;
    assert_eq!(accepted.status(), StatusCode::CREATED);
    assert_eq!(cents(&world, "dave").await, 10_000);
}

/// What a transfer of 1.00 USD from alice to bob becomes bad by: a member and its value.
const UNPAYABLE: &str = r#"
amount   | 1                 | 400 | body member "amount" must be a JSON string
amount   | 1.0               | 400 | body member "amount" must be a JSON string
amount   | ["1"]             | 400 | body member "amount" must be a JSON string
currency | true              | 400 | body member "currency" must be a JSON string
to       | 7                 | 400 | body member "to" must be a JSON string
amount   | null              | 400 | "amount" must be a positive decimal string
amount   | ""                | 400 | "amount" must be a positive decimal string
amount   | "-1.00"           | 400 | "amount" must be a positive decimal string
amount   | "+1.00"           | 400 | "amount" must be a positive decimal string
amount   | "1e3"             | 400 | "amount" must be a positive decimal string
amount   | "NaN"             | 400 | "amount" must be a positive decimal string
amount   | " 1"              | 400 | "amount" must be a positive decimal string
amount   | "1\n"             | 400 | "amount" must be a positive decimal string
amount   | "1,00"            | 400 | "amount" must be a positive decimal string
amount   | "\uff11"          | 400 | "amount" must be a positive decimal string
amount   | "1\u0000"         | 400 | body member "amount" contains a NUL character
to       | null              | 400 | "to" is required
currency | ""                | 400 | "currency" is required
amount   | "0.00"            | 422 | "amount" must be greater than zero
amount   | "0.001"           | 422 | "amount" has more than the 2 decimals of USD
amount   | "1000.01"         | 422 | insufficient funds
currency | "usd"             | 422 | unknown currency
currency | "KES"             | 422 | insufficient funds
to       | "nobody"          | 422 | unknown recipient
to       | "system:issuance" | 422 | unknown recipient
to       | "alice"           | 422 | a transfer needs another account
to       | "rupert"          | 422 | the recipient cannot receive
"#;

#[tokio::test]
async fn what_cannot_be_paid_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let token = jwt("alice").await;
    let before = world.cluster.primary.value("select count(*) from entries");
    let before = before.await.unwrap();
    let post = async |path: &str, key: Option<&str>, token: &str, body: &Value| {
        let mut request = world.request(Method::POST, path).bearer_auth(token);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.json(body).send().await.unwrap()
    };
    let good = transfer("bob", "1.00");
    for key in [None, Some("")] {
        let response = post(TRANSFERS, key, &token, &good).await;
        let detail = problem(response, 400, "invalid-parameter").await;
        assert_eq!(detail, "the Idempotency-Key header is required");
    }
    let long = "k".repeat(256);
    let response = post(TRANSFERS, Some(&long), &token, &good).await;
    problem(response, 400, "invalid-parameter").await;

    for [member, value, status, expected] in rows(UNPAYABLE) {
        let mut body = good.clone();
        body[member] = serde_json::from_str(value).unwrap();
        let response = post(TRANSFERS, Some("bad"), &token, &body).await;
        assert_eq!(header(&response, "x-consistency-token"), "");
        let detail = match status {
            "400" => problem(response, 400, "invalid-parameter").await,
            _ => problem(response, 422, "rejected").await,
        };
        assert!(detail.starts_with(expected), "{body}: {detail}");
    }
    for stranger in ["quinn", "mallory", "system:issuance"] {
        let response = post(TRANSFERS, Some("bad"), &jwt(stranger).await, &good).await;
        problem(response, 422, "rejected").await;
    }
    let after = world.cluster.primary.value("select count(*) from entries");
    assert_eq!(after.await.unwrap(), before);
    let keys = "select count(*) from idempotency_keys where key in ('bad', '')";
    let keys = world.cluster.primary.value(keys).await.unwrap();
    assert_eq!(keys.as_deref(), Some("0"));
}

const BAD_PAGES: &str = r#"
limit=0           | limit must be between 1 and 100
limit=101         | limit must be between 1 and 100
limit=all         | query parameter "limit" is not an integer in range
limit=            | query parameter "limit" is not an integer in range
limit=99999999999 | query parameter "limit" is not an integer in range
before=x          | query parameter "before" is not an integer in range
limit=5&limit=6   | a query parameter is given more than once
"#;

#[tokio::test]
async fn history_is_read_in_pages_that_neither_repeat_nor_skip() {
    let world = World::start().await;
    for round in 0..12 {
        let (from, to) = if round % 2 == 0 {
            ("alice", "bob")
        } else {
            ("bob", "alice")
        };
        let body = transfer(to, "1.00");
        let made = world
            .post(from, TRANSFERS, &format!("n{round}"), &body)
            .await;
        assert_eq!(made.status(), StatusCode::CREATED);
    }
    let everything = json(
        world
            .get_as("alice", "/api/v1/transactions?limit=100")
            .await,
    )
    .await;
    let everything = everything.as_array().unwrap().clone();
    assert_eq!(
        everything.len(),
        12 + 4,
        "the opening balances are four mints"
    );
    let ids: Vec<i64> = everything
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");

    let (mut paged, mut path) = (Vec::new(), "/api/v1/transactions?limit=5".to_owned());
    loop {
        let page = json(world.get_as("alice", &path).await).await;
        let page = page.as_array().unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 5);
        path = format!("/api/v1/transactions?limit=5&before={}", last["id"]);
        paged.extend(page.iter().cloned());
    }
    assert_eq!(paged, everything);

    let stranger = world.get_as("mallory", "/api/v1/transactions").await;
    assert_eq!(stranger.text().await.unwrap(), "[]");
    for [query, expected] in rows(BAD_PAGES) {
        let path = format!("/api/v1/transactions?{query}");
        let refused = world.get_as("alice", &path).await;
        let detail = problem(refused, 400, "invalid-parameter").await;
        assert_eq!(detail, expected, "{query}");
    }
}

const CLIENTS: usize = 64;
const TRANSFERS_EACH: usize = 10;
const ACCOUNTS: [&str; 16] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "ken",
    "liam", "mia", "nora", "oscar", "peggy",
];

/// One transfer that a client requests twice.
struct Order {
    from: usize,
    to: usize,
    cents: i64,
    key: String,
}

impl Order {
    fn of(client: usize, round: usize) -> Self {
        let (from, count) = ((client + round) % ACCOUNTS.len(), ACCOUNTS.len());
        let step = 1 + (client * 7 + round * 3) % (count - 1);
        Self {
            from,
            to: (from + step) % count,
            // Some are more than an account has.
            cents: 1 + i64::try_from((client * 9_973 + round * 7_919) % 60_000).unwrap(),
            key: format!("{client}-{round}"),
        }
    }

    /// Sends it until it is decided, and returns the id of the transaction if there is one.
    async fn send(&self, world: &World, tokens: &[String]) -> Option<i64> {
        let amount = format!("{}.{:02}", self.cents / 100, self.cents % 100);
        let body = transfer(ACCOUNTS[self.to], &amount);
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let request = world
                .request(Method::POST, TRANSFERS)
                .bearer_auth(&tokens[self.from])
                .header("Idempotency-Key", &self.key);
            let response = request.json(&body).send().await.unwrap();
            match response.status().as_u16() {
                201 => return json(response).await["id"].as_i64(),
                422 => {
                    problem(response, 422, "rejected").await;
                    return None;
                }
                // Not decided, or not known to be: the key makes it safe to send it again.
                409 | 502 | 503 | 504 => sleep(Duration::from_millis(50)).await,
                other => panic!("{other}: {}", response.text().await.unwrap()),
            }
        }
        panic!("{} was never decided", self.key);
    }
}

#[tokio::test]
async fn no_money_appears_or_vanishes_when_many_pay_at_once() {
    let world = World::start().await;
    let tokens = join_all(ACCOUNTS.map(jwt)).await;
    let sums = world.cluster.primary.value(SUMS).await.unwrap();
    let clients = (0..CLIENTS).map(async |client| {
        let mut made = Vec::new();
        for round in 0..TRANSFERS_EACH {
            let order = Order::of(client, round);
            let (once, twice) =
                tokio::join!(order.send(&world, &tokens), order.send(&world, &tokens));
            if let (Some(once), Some(twice)) = (once, twice) {
                assert_eq!(once, twice, "one key, one transaction");
            }
            made.extend(once.or(twice).map(|id| (id, order)));
        }
        made
    });
    let made: Vec<_> = join_all(clients).await.into_iter().flatten().collect();

    let ids: BTreeSet<i64> = made.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), made.len(), "one transaction, one key");
    assert!(made.len() > CLIENTS, "most transfers are covered");
    let stored = "select count(*) from transactions where kind = 'transfer'";
    let stored = world.cluster.primary.value(stored).await.unwrap();
    assert_eq!(stored, Some(made.len().to_string()));

    let mut expected: BTreeMap<usize, i64> = (0..ACCOUNTS.len()).map(|at| (at, 100_000)).collect();
    for (_, order) in &made {
        *expected.get_mut(&order.from).unwrap() -= order.cents;
        *expected.get_mut(&order.to).unwrap() += order.cents;
    }
    for (at, cents_left) in expected {
        assert_eq!(
            cents(&world, ACCOUNTS[at]).await,
            cents_left,
            "{}",
            ACCOUNTS[at]
        );
        assert!(cents_left >= 0);
    }
    assert_eq!(world.cluster.primary.value(SUMS).await.unwrap(), sums);
    let wrong = "select count(*) from balances b where (not system and amount < 0) or amount <> \
                 (select sum(e.amount) from entries e \
                  where e.account_id = b.account_id and e.currency = b.currency)";
    let wrong = world.cluster.primary.value(wrong).await.unwrap();
    assert_eq!(wrong.as_deref(), Some("0"));
}
