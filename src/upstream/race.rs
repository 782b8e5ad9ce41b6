//! Tries the nodes in their order until one answers.
//!
//! A safe request without a body is sent to the next node when one fails or returns a server error
//! (5xx), and also to a second one
//! when the first takes unusually long. Any other request is sent to the next node only if it is
//! certain that nothing of it was sent.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Response;
use tokio::time::error::Elapsed;
use tokio::time::{Duration, Instant, timeout_at};

use super::attempt::attempt;
use super::error::AttemptError;
use super::fault::Fault;
use super::link::AnswerBody;
use super::node::Visit;
use super::outgoing::{Outgoing, Patience};
use super::try_span::TrySpan;
use super::upload::{Upload, UploadState};
use super::{Upstream, UpstreamError, UpstreamNode};
use tidegate_steering::{Choice, Entrant, Race, RaceEvent, Turn};
use tidegate_traffic::health::Outcome;

/// How often a request that waits wakes its task, as in [`super::download`].
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Time after `body_timeout` in which a late client body reports that itself.
const UPLOAD_MARGIN: Duration = Duration::from_millis(50);

/// One request on its way from node to node.
pub(super) struct UpstreamRace<'r> {
    upstream: &'r Upstream,
    outgoing: &'r Outgoing,
    upload: Option<&'r Upload>,
    patience: Patience,
    started: Instant,
    /// Whether it may be sent twice.
    repeatable: bool,
    first: usize,
    /// The nodes that have not been tried yet.
    order: <Choice as IntoIterator>::IntoIter,
    /// How many of the last ones are in another region than the first, and get no hedges.
    far: usize,
    /// How many of the last ones are tried only if nothing of the request was sent.
    unrepeated: usize,
    race: Race<'r, Tried>,
    /// The nodes whose server errors are not judged yet.
    refused: Choice,
    /// The node whose earlier server errors the first answer is compared with.
    passed_over: Option<usize>,
    failed: Option<Failure>,
    /// How often it was sent.
    sent: u32,
    /// Whether the tries that are left have run out of time, for their spans.
    is_out_of_time: Arc<AtomicBool>,
}

/// The result of an attempt.
type Tried = Result<(Response<AnswerBody>, Visit), AttemptError>;

/// An answer that is passed on.
pub(super) struct Found {
    pub(super) response: Response<AnswerBody>,
    /// The node that it came from, which is occupied until its last byte.
    pub(super) node: usize,
    pub(super) visit: Visit,
    /// Why this node answered.
    pub(super) turn: Turn,
}

/// What remains of a failed attempt.
enum Failure {
    /// A server error; it is passed on if no other node answers better.
    Refusal(Box<Found>),
    /// Nothing.
    Error(AttemptError),
}

impl<'r> UpstreamRace<'r> {
    pub(super) fn new(
        upstream: &'r Upstream,
        outgoing: &'r Outgoing,
        upload: Option<&'r Upload>,
        patience: Patience,
    ) -> Self {
        let repeatable = outgoing.method.is_safe() && upload.is_none();
        let order = upstream.order(outgoing);
        Self {
            upstream,
            outgoing,
            upload,
            patience,
            started: Instant::now(),
            repeatable,
            first: 0,
            far: order.nodes.len() - order.near,
            unrepeated: order.nodes.len() - order.repeats,
            order: order.nodes.into_iter(),
            race: Race::default(),
            refused: Choice::new(),
            passed_over: order.passed_over,
            failed: None,
            sent: 0,
            is_out_of_time: Arc::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<Found, UpstreamError> {
        self.first = self.order.next().ok_or(UpstreamError::Unreachable(None))?;
        self.upstream.balance().sent(self.first);
        self.ask(self.first, Turn::First);
        // A second WebSocket would be useless.
        if self.repeatable && !self.outgoing.wants_websocket && self.order.len() > 0 {
            let delay = self.upstream.balance().hedge_delay(self.first);
            self.race.hedge_after(delay);
        }
        let out_of_time = out_of_time(self.upstream, self.upload, self.patience, self.started);
        let mut out_of_time = pin!(out_of_time);
        loop {
            tokio::select! {
                biased;
                event = self.race.next() => match event {
                    RaceEvent::Slow => if !self.ask_another(Turn::Hedge) && self.order.len() > 0 {
                        // The node may be known to have failed by then.
                        self.race.hedge_after(self.upstream.balance().hedge_delay(self.first));
                    },
                    RaceEvent::Ended(entrant, tried) => {
                        if let Some(found) = self.take_in(entrant, tried)? {
                            return Ok(found);
                        }
                    }
                },
                error = &mut out_of_time => return self.run_out(error),
            }
        }
    }

    /// Sends the request to a node.
    fn ask(&mut self, node: usize, turn: Turn) {
        let (upstream, outgoing, upload) = (self.upstream, self.outgoing, self.upload);
        // A hedge may be overtaken, and its outcome never be known.
        if turn != Turn::Hedge {
            upstream.probe_by(node, outgoing);
        }
        let visit = upstream.nodes()[node].visit();
        let is_out_of_time = Arc::clone(&self.is_out_of_time);
        let span = TrySpan::begin(&upstream.nodes()[node], outgoing, self.sent, is_out_of_time);
        self.sent += 1;
        let attempt = async move {
            let asked = Instant::now();
            let answer = attempt(upstream, node, outgoing, upload, span).await;
            sample(&upstream.nodes()[node], outgoing, upload, &answer, asked);
            answer.map(|response| (response, visit))
        };
        self.race.enter(node, turn, attempt);
    }

    /// Sends the request to the next node, if there is one and the budget allows it.
    fn ask_another(&mut self, turn: Turn) -> bool {
        let beyond = match turn {
            Turn::Hedge => self.far.max(self.unrepeated),
            Turn::First | Turn::Retry => self.unrepeated,
        };
        if self.order.len() <= beyond {
            return false;
        }
        let next = self.order.as_slice().first().copied();
        let may = |next| self.upstream.balance().may_go_on(self.first, next);
        next.is_some_and(may) && self.go_on(turn)
    }

    fn go_on(&mut self, turn: Turn) -> bool {
        let next = self.order.next();
        if let Some(next) = next {
            let (upstream, node) = (self.upstream.name(), &self.upstream.nodes()[next].name);
            tracing::debug!(upstream, node, ?turn, "trying another node");
            self.ask(next, turn);
        }
        next.is_some()
    }

    /// Handles the end of one attempt: returns an answer to pass on, or `None` while others may
    /// still answer.
    fn take_in(&mut self, entrant: Entrant, answer: Tried) -> Result<Option<Found>, UpstreamError> {
        let Entrant { node, turn, since } = entrant;
        let took = since.elapsed();
        let found = |(response, visit)| Found {
            response,
            node,
            visit,
            turn,
        };
        let failure = match answer.map(found) {
            Ok(found) if !found.response.status().is_server_error() => {
                self.upstream.answered(node, took);
                let kind = || self.outgoing.kind();
                self.upstream.balance().end_row(node, kind);
                self.judge(Some(node));
                self.note_overtaken(turn);
                return Ok(Some(found));
            }
            Ok(found) => {
                self.upstream.count(node, "refused");
                self.upstream.balance().heard(node);
                if !self.refused.contains(&node) {
                    self.refused.push(node);
                }
                if !self.repeatable {
                    self.judge(None);
                    return Ok(Some(found));
                }
                Failure::Refusal(Box::new(found))
            }
            Err(error) => Failure::Error(self.weigh(node, error)?),
        };
        let unsent = failure.is_unsent();
        self.failed = Some(failure.or(self.failed.take()));
        let another = match unsent {
            // An attempt that was never sent caused no load.
            true => self.go_on(Turn::Retry),
            false => self.ask_another(Turn::Retry),
        };
        if another || !self.race.entrants().is_empty() {
            return Ok(None);
        }
        self.judge(None);
        match self.failed.take() {
            Some(Failure::Refusal(found)) => Ok(Some(*found)),
            Some(Failure::Error(error)) => Err(error.unanswered()),
            None => Err(UpstreamError::Unreachable(None)),
        }
    }

    /// Judges the server errors so far by the node that answered well, if one did. A node is compared
    /// with others that have answered, never with itself.
    fn judge(&mut self, answered: Option<usize>) {
        let balance = self.upstream.balance();
        let refused = std::mem::take(&mut self.refused);
        let passed_over = self.passed_over.take();
        let passed_over = passed_over.filter(|node| !refused.contains(node));
        if refused.is_empty() && passed_over.is_none() {
            return;
        }
        let kind = self.outgoing.kind();
        let compared = || refused.iter().copied().chain(passed_over);
        match answered {
            Some(well) => compared()
                .filter(|&node| node != well)
                .for_each(|node| balance.compared(node, kind, Fault::Node)),
            None if !refused.is_empty() && compared().count() > 1 => {
                compared().for_each(|node| balance.compared(node, kind, Fault::Application));
            }
            None => refused.iter().for_each(|&node| balance.refused(node, kind)),
        }
    }

    /// Returns an error after which another node may be tried.
    fn weigh(&self, node: usize, error: AttemptError) -> Result<AttemptError, UpstreamError> {
        let state = self.upload.map(Upload::state);
        match state {
            Some(UploadState::TooLarge) => {
                return Err(UpstreamError::BodyTooLarge(self.patience.body_bytes_max));
            }
            Some(UploadState::TooSlow) => return Err(UpstreamError::BodyTooSlow),
            Some(UploadState::Broken) => return Err(UpstreamError::BodyBroken),
            None | Some(UploadState::Whole | UploadState::Flowing | UploadState::Taken(_)) => {}
        }
        self.upstream.failed(node, error.outcome());
        let untouched = matches!(state, None | Some(UploadState::Whole));
        let sent_again = self.outgoing.method.is_safe() || error.is_unsent();
        if sent_again && untouched {
            return Ok(error);
        }
        match error.unanswered() {
            // Another region would take "no node" to mean that nothing was done.
            UpstreamError::Unreachable(error)
                if !self.outgoing.method.is_safe()
                    || (!untouched && self.patience.time_left.is_some()) =>
            {
                Err(UpstreamError::OutcomeUnknown(error))
            }
            other => Err(other),
        }
    }

    /// A node that was tried before a hedge and has been completely silent since counts as failed:
    /// a frozen node would never be detected otherwise, because no request waits for it any more.
    /// If it answers other requests it is healthy, and this request is inherently slow.
    fn note_overtaken(&self, by: Turn) {
        if by != Turn::Hedge {
            return;
        }
        let balance = self.upstream.balance();
        let silent = |it: &&Entrant| balance.is_silent_since(it.node, it.since);
        for entrant in self.race.entrants().overtaken().filter(silent) {
            self.upstream.failed(entrant.node, "overtaken");
        }
    }

    /// All attempts that are left have timed out.
    fn run_out(mut self, error: UpstreamError) -> Result<Found, UpstreamError> {
        if !matches!(error, UpstreamError::Timeout) {
            return Err(error);
        }
        self.is_out_of_time.store(true, Ordering::Relaxed);
        for entrant in self.race.entrants().iter() {
            self.upstream.failed(entrant.node, "timeout");
            let node = &self.upstream.nodes()[entrant.node];
            self.outgoing.sample(node, Outcome::Failed, Duration::ZERO);
        }
        self.judge(None);
        match self.failed.take() {
            Some(Failure::Refusal(found)) => Ok(*found),
            _ if self.outgoing.method.is_safe() => Err(error),
            _ => Err(UpstreamError::OutcomeUnknown(None)),
        }
    }
}

/// Records the end of an attempt for the traffic policy, unless the client has caused it.
fn sample(
    node: &UpstreamNode,
    outgoing: &Outgoing,
    upload: Option<&Upload>,
    answer: &Result<Response<AnswerBody>, AttemptError>,
    asked: Instant,
) {
    let sent = match upload.map(Upload::state) {
        Some(UploadState::TooLarge | UploadState::TooSlow | UploadState::Broken) => return,
        Some(UploadState::Taken(at)) => at,
        Some(UploadState::Whole | UploadState::Flowing) | None => asked,
    };
    let outcome = match answer {
        Ok(answer) if !answer.status().is_server_error() => Outcome::Served,
        Ok(_) | Err(_) => Outcome::Failed,
    };
    outgoing.sample(node, outcome, sent.elapsed());
}

impl Failure {
    fn is_unsent(&self) -> bool {
        match self {
            Self::Refusal(_) => false,
            Self::Error(error) => error.is_unsent(),
        }
    }

    /// The fallback answer: a refusal is more informative than none, and the first one comes from
    /// the preferred node.
    fn or(self, earlier: Option<Self>) -> Self {
        match (self, earlier) {
            (_, Some(refusal @ Self::Refusal(_))) => refusal,
            (newer, _) => newer,
        }
    }
}

/// Completes when the request has taken too long. The node's time begins when it has the whole
/// request.
async fn out_of_time(
    upstream: &Upstream,
    upload: Option<&Upload>,
    patience: Patience,
    started: Instant,
) -> UpstreamError {
    let sent = match upload {
        None => started,
        Some(upload) => {
            let until = started + patience.body_timeout + UPLOAD_MARGIN;
            match alive(until, upload.ended()).await {
                Ok(UploadState::Taken(at)) => at,
                Ok(UploadState::TooLarge) => {
                    return UpstreamError::BodyTooLarge(patience.body_bytes_max);
                }
                Ok(UploadState::TooSlow) => return UpstreamError::BodyTooSlow,
                Ok(_) => return UpstreamError::BodyBroken,
                // A late client would have been reported; here the node accepts no more.
                Err(_elapsed) => return UpstreamError::Timeout,
            }
        }
    };
    let timeout = upstream.limits().timeout.unwrap_or(patience.deadline);
    let timeout = patience.time_left.map_or(timeout, |it| timeout.min(it));
    let Err(_elapsed) = alive(sent + timeout, pending::<Infallible>()).await;
    UpstreamError::Timeout
}

/// Waits for something until then, and gives signs of life meanwhile.
async fn alive<T>(until: Instant, awaited: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut awaited = pin!(awaited);
    loop {
        let pause_ends = until.min(Instant::now() + SIGN_OF_LIFE);
        match timeout_at(pause_ends, awaited.as_mut()).await {
            Err(_elapsed) if pause_ends < until => {}
            ended => return ended,
        }
    }
}
