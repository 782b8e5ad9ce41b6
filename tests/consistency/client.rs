//! A client: one request after another, at any level, through any gateway, with its token at hand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tidegate::consistency::Level;
use tokio::time::{Instant, sleep};

use super::arena::{Addresses, GATEWAYS};
use super::history::{Action, Answer, Operation, Outcome, Token, Value, Version};

/// Few enough for contention, enough that the registers of a round have short histories.
pub(super) const KEYS: usize = 12;
const BOUNDS_MS: [u64; 4] = [150, 400, 1_000, 2_000];
/// Above the gateways' deadline: a client gives up only on a gateway that says nothing.
const PATIENCE: Duration = Duration::from_secs(4);
/// After a failure, so that a gateway that refuses at once is not asked in a circle.
const BREATH: Duration = Duration::from_millis(20);

/// What the clients of a round share.
pub(super) struct Round {
    pub(super) number: usize,
    pub(super) addresses: Addresses,
    pub(super) http: Client,
    pub(super) start: Instant,
    pub(super) over: AtomicBool,
    pub(super) values: Arc<AtomicU64>,
    /// A token that anybody may take, as when one service calls another.
    pub(super) board: Mutex<Option<Token>>,
    pub(super) edge: Edge,
}

/// What lies between the clients and the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Transparent,
    /// A broken one that loses the level, as a CDN does that was not told of the header.
    DropsLevels,
    /// A broken one that loses the token.
    DropsTokens,
}

#[derive(Deserialize)]
struct Body {
    value: Value,
    version: Version,
}

/// Works until the round is over, and returns what it saw.
pub(super) async fn work(round: Arc<Round>, client: usize, mut rng: Rng) -> Vec<Operation> {
    let mut history = Vec::new();
    let mut token = None;
    while !round.over.load(Ordering::Relaxed) {
        if rng.u8(..20) == 0 {
            token = round.board();
        }
        let operation = round.operate(client, token.clone(), &mut rng).await;
        match operation.answer() {
            None => sleep(BREATH).await,
            Some(answer) if answer.token.is_some() && operation.token == token => {
                token.clone_from(&answer.token);
                round.post(token.clone());
            }
            Some(_) => {}
        }
        history.push(operation);
    }
    history
}

impl Round {
    async fn operate(&self, client: usize, token: Option<Token>, rng: &mut Rng) -> Operation {
        let action = self.action(rng);
        let session = !matches!(action, Action::Read(level, _) if level != Level::Session);
        let token = token.filter(|_| session || rng.bool());
        let (gateway, key) = (rng.usize(..GATEWAYS), rng.usize(..KEYS));
        let request = self.request(gateway, key, action, token.as_ref());
        let invoked = self.start.elapsed();
        let outcome = send(request.timeout(PATIENCE)).await;
        Operation {
            client,
            gateway,
            key,
            action,
            token,
            invoked,
            completed: self.start.elapsed(),
            outcome,
        }
    }

    fn action(&self, rng: &mut Rng) -> Action {
        match rng.u8(..100) {
            0..25 => Action::Write(self.values.fetch_add(1, Ordering::Relaxed)),
            25..40 => Action::Read(Level::Strong, None),
            40..65 => Action::Read(Level::Session, None),
            65..85 => {
                let bound = BOUNDS_MS[rng.usize(..BOUNDS_MS.len())];
                Action::Read(Level::Bounded, Some(Duration::from_millis(bound)))
            }
            _ => Action::Read(Level::Eventual, None),
        }
    }

    fn request(
        &self,
        gateway: usize,
        key: usize,
        action: Action,
        token: Option<&Token>,
    ) -> RequestBuilder {
        let url = format!("{}/r/{}-{key}", self.addresses.of(gateway), self.number);
        let mut request = match action {
            Action::Write(value) => self
                .http
                .put(url)
                .json(&serde_json::json!({ "value": value })),
            Action::Read(..) => self.http.get(url),
        };
        if let Action::Read(level, bound) = action
            && self.edge != Edge::DropsLevels
        {
            request = request.header("X-Consistency", stated(level, bound));
        }
        match token {
            Some(token) if self.edge != Edge::DropsTokens => {
                request.header("X-Consistency-Token", &**token)
            }
            _ => request,
        }
    }

    fn board(&self) -> Option<Token> {
        self.board
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn post(&self, token: Option<Token>) {
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

fn stated(level: Level, bound: Option<Duration>) -> String {
    match bound {
        Some(bound) => format!("{level};max-staleness={}", bound.as_secs_f64()),
        None => level.to_string(),
    }
}

async fn send(request: RequestBuilder) -> Outcome {
    match request.send().await {
        Ok(response) if response.status().is_success() => answer(response)
            .await
            .map_or(Outcome::Unknown, Outcome::Answered),
        Ok(response) if is_refusal(response.status()) => Outcome::Refused,
        Ok(_) => Outcome::Unknown,
        Err(error) if error.is_connect() => Outcome::Refused,
        Err(_) => Outcome::Unknown,
    }
}

/// Statuses by which a gateway says that nothing was done.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE
}

/// None when the body was cut off: then the outcome is as unknown as without an answer.
async fn answer(response: Response) -> Option<Answer> {
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let token = header("X-Consistency-Token").map(Token::from);
    let status = header("Consistency-Status").expect("every answer of a node has it");
    let body: Body = response.json().await.ok()?;
    let level = parameter(&status, "level").expect("a status has a level");
    let level = Level::ALL.into_iter().find(|it| it.as_str() == level);
    let staleness = parameter(&status, "staleness").map(|text| text.parse().unwrap());
    Some(Answer {
        value: body.value,
        version: body.version,
        token,
        level: level.expect("a level is one of four"),
        primary: parameter(&status, "node") == Some("primary"),
        staleness: staleness.map(Duration::from_secs_f64),
        status,
    })
}

fn parameter<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let found = |part: &'a str| part.strip_prefix(name)?.strip_prefix('=');
    status.split("; ").find_map(found)
}
