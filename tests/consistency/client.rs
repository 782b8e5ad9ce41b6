//! A client: one request after another, at any level, through any gateway, with its token.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tidegate_model::Level;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep};

use super::arena::{Addresses, GATEWAYS};
use super::edge::{Ask, Edge};
use super::history::{Action, Answer, Operation, Outcome, Token, Value, Version};

/// Few enough for contention, enough that the registers of a round have short histories.
pub(super) const KEYS: usize = 12;
const BOUNDS_MS: [u64; 5] = [150, 400, 500, 1_000, 2_000];
/// Above the gateways' deadline: a client gives up only on a gateway that does not answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// After a failure, so that a gateway that refuses at once does not get requests in a tight loop.
const BREATH: Duration = Duration::from_millis(20);

/// What the clients of a round share.
pub(super) struct Round {
    pub(super) number: usize,
    pub(super) addresses: Addresses,
    pub(super) http: Client,
    pub(super) start: Instant,
    pub(super) over: AtomicBool,
    pub(super) values: Arc<AtomicU64>,
    /// Held by every writer; a fault that takes it exclusively stops the writes but no read.
    pub(super) writes: RwLock<()>,
    /// A token that any client may take, as when one service calls another.
    pub(super) board: Mutex<Option<Token>>,
    pub(super) edge: Edge,
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
        match &operation.outcome {
            Outcome::Answered(answer) if answer.token.is_some() && operation.token == token => {
                token.clone_from(&answer.token);
                round.post(token.clone());
            }
            Outcome::Answered(_) => {}
            Outcome::Lost => {
                token = None;
                round.withdraw(operation.token.as_ref());
            }
            Outcome::Refused | Outcome::Unknown => sleep(BREATH).await,
        }
        history.push(operation);
    }
    history
}

impl Round {
    async fn operate(&self, client: usize, token: Option<Token>, rng: &mut Rng) -> Operation {
        let may_write = self.writes.try_read().ok();
        let action = self.action(may_write.is_some(), rng);
        let session = !matches!(action, Action::Read(level, _) if level != Level::Session);
        let token = token.filter(|_| session || rng.bool());
        let (gateway, key) = (rng.usize(..GATEWAYS), rng.usize(..KEYS));
        let ask = Ask {
            gateway,
            key,
            action,
            token: token.as_ref(),
        };
        let invoked = self.start.elapsed();
        let outcome = self.exchange(ask, rng.u8(..100)).await;
        Operation {
            client,
            gateway: self.edge.name_of(gateway),
            key,
            action,
            token,
            invoked,
            completed: self.start.elapsed(),
            outcome,
        }
    }

    fn action(&self, may_write: bool, rng: &mut Rng) -> Action {
        match rng.u8(..100) {
            0..25 if may_write => Action::Write(self.values.fetch_add(1, Ordering::Relaxed)),
            0..40 => Action::Read(Level::Strong, None),
            40..65 => Action::Read(Level::Session, None),
            65..85 => {
                let bound = BOUNDS_MS[rng.usize(..BOUNDS_MS.len())];
                Action::Read(Level::Bounded, Some(Duration::from_millis(bound)))
            }
            _ => Action::Read(Level::Eventual, None),
        }
    }

    /// Sends a request to its gateway at the current address.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Outcome {
        send(self.request(ask).timeout(PATIENCE)).await
    }

    fn request(&self, ask: Ask<'_>) -> RequestBuilder {
        let gateway = self.addresses.of(ask.gateway);
        let url = format!("{gateway}/r/{}-{}", self.number, ask.key);
        let mut request = match ask.action {
            Action::Write(value) => self
                .http
                .put(url)
                .json(&serde_json::json!({ "value": value })),
            Action::Read(..) => self.http.get(url),
        };
        if let Action::Read(level, bound) = ask.action
            && self.edge.passes_levels()
        {
            request = request.header("X-Consistency", stated(level, bound));
        }
        match ask.token {
            Some(token) if self.edge.passes_tokens() => {
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

    /// Removes a token from the board that can no longer be used.
    fn withdraw(&self, token: Option<&Token>) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.as_ref() == token {
            *board = None;
        }
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
        Ok(response) if response.status() == StatusCode::CONFLICT => conflict(response).await,
        Ok(response) if is_refusal(response.status()) => Outcome::Refused,
        Ok(_) => Outcome::Unknown,
        Err(error) if error.is_connect() => Outcome::Refused,
        Err(_) => Outcome::Unknown,
    }
}

/// Statuses by which a gateway states that nothing was executed.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE
}

async fn conflict(response: Response) -> Outcome {
    let problem = response.text().await.unwrap_or_default();
    match problem.contains("/problems/write-lost-in-failover\"") {
        true => Outcome::Lost,
        false => Outcome::Refused,
    }
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
