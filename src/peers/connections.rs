//! The connections that were dialled, and what is asked over them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Uri};
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::{ConnectionId, PROBE_MAX, Purpose};
use tidegate_model::RegionId;
use tidegate_telemetry::{Throttle, names};
use tidegate_traffic::health::Outcome;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tower::ServiceExt as _;

use super::credentials::Credentials;
use super::dial::Dial;
use super::event::{Ending, Event};
use super::grpc::{BytesCodec, CHECK, ORIGIN, client};
use super::heard::HeardFlag;
use super::refusal_log::RefusalLog;
use crate::http::PROBE_PATHS;
use crate::tunnels::{Tunnels, outcome_of};

/// A ping without an answer is given up a little before the fleet sends another.
const PING_MAX: Duration = Duration::from_millis(2_900);

/// That a region's gateways seem to refuse this one is said so often.
const REFUSED_WARNED_EVERY: Duration = Duration::from_secs(60);

/// The connections that were dialled and are not closed.
pub(super) struct Connections {
    open: HashMap<ConnectionId, Connection>,
    /// Where those for requests are kept once they are open.
    tunnels: Arc<Tunnels>,
    credentials: Arc<ArcSwap<Credentials>>,
    events: mpsc::Sender<Event>,
    /// Answers probes here.
    health: Router,
    /// Of regions whose gateways have closed a connection without a word.
    warnings: HashMap<RegionId, Throttle>,
    /// Of gateways that this one refuses.
    refusals: RefusalLog,
}

struct Connection {
    task: JoinHandle<()>,
    region: RegionId,
    address: SocketAddr,
    purpose: Purpose,
    heard: HeardFlag,
    /// Once it is open, and until it is retired.
    sender: Option<SendRequest<Body>>,
}

impl Connections {
    pub(super) fn new(
        tunnels: Arc<Tunnels>,
        credentials: Arc<ArcSwap<Credentials>>,
        events: mpsc::Sender<Event>,
        health: Router,
    ) -> Self {
        Self {
            open: HashMap::new(),
            tunnels,
            credentials,
            events,
            health,
            warnings: HashMap::new(),
            refusals: RefusalLog::default(),
        }
    }

    pub(super) fn dial(&mut self, dial: Dial) {
        let (address, purpose) = (dial.address, dial.purpose);
        let (id, heard) = (dial.connection, HeardFlag::default());
        let region = dial.region.clone();
        let credentials = Arc::clone(&self.credentials);
        let refusals = self.refusals.clone();
        let task = dial.run(credentials, heard.clone(), self.events.clone(), refusals);
        let connection = Connection {
            task: tokio::spawn(task),
            region,
            address,
            purpose,
            heard,
            sender: None,
        };
        self.open.insert(id, connection);
    }

    /// Takes what sends over a connection; returns whether it was not given up meanwhile.
    pub(super) fn opened(&mut self, id: ConnectionId, sender: SendRequest<Body>) -> bool {
        let Some(connection) = self.open.get_mut(&id) else {
            return false;
        };
        if connection.purpose == Purpose::Tunnel {
            let windows = connection.heard.windows();
            let region = &connection.region;
            self.tunnels.open(region, id, sender.clone(), windows);
        }
        connection.sender = Some(sender);
        true
    }

    /// Calls back with those over which something has arrived since the last time.
    pub(super) fn heard(&self, mut call: impl FnMut(ConnectionId)) {
        for (id, connection) in &self.open {
            if connection.heard.take() {
                call(*id);
            }
        }
    }

    /// Forgets a connection that has ended; returns whether it was known.
    pub(super) fn forget(&mut self, id: ConnectionId, why: Ending) -> bool {
        let Some(ended) = self.remove(id) else {
            return false;
        };
        if why == Ending::Unanswered {
            self.warn_of_refusal(&ended);
        }
        true
    }

    /// A peer does not say that it refuses a certificate, or why: its own log does.
    fn warn_of_refusal(&mut self, ended: &Connection) {
        let (region, address) = (&ended.region, ended.address);
        let warnings = self.warnings.entry(region.clone());
        let warnings = warnings.or_insert_with(|| Throttle::new(REFUSED_WARNED_EVERY));
        if let Some(suppressed) = warnings.pass(Instant::now()) {
            tracing::warn!(
                %region,
                %address,
                suppressed,
                "a peer closed the connection before it answered: it may refuse this gateway's certificate"
            );
        }
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.remove(id) {
            connection.heard.close();
            connection.task.abort();
        }
    }

    /// Sends nothing new over a connection. One for control ends at once, and returns true; a tunnel ends with
    /// its last request.
    pub(super) fn retire(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.open.get_mut(&id) else {
            return false;
        };
        self.tunnels.close(&connection.region, id);
        // Nothing else can send over a tunnel.
        connection.sender = None;
        let ends = connection.purpose == Purpose::Control;
        if ends {
            connection.task.abort();
        }
        ends
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        self.tunnels.close(&connection.region, id);
        Some(connection)
    }

    pub(super) fn sender(&self, id: ConnectionId) -> Option<SendRequest<Body>> {
        self.open.get(&id)?.sender.clone()
    }

    pub(super) fn ping(&self, id: ConnectionId) {
        let Some(sender) = self.sender(id) else {
            return;
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut client = client(sender);
            let request = tonic::Request::new(Bytes::new());
            let asked = async {
                client.ready().await.is_ok()
                    && client.unary(request, CHECK, BytesCodec).await.is_ok()
            };
            if timeout(PING_MAX, asked).await == Ok(true) {
                let _driver_gone = events.send(Event::Pong(id)).await;
            }
        });
    }

    pub(super) fn probe(&self, id: ConnectionId, path: Option<Arc<str>>) {
        let Some(mut sender) = self.sender(id) else {
            return;
        };
        metrics::counter!(names::FLEET_PROBES).increment(1);
        let events = self.events.clone();
        tokio::spawn(async move {
            let request = probe_request(path.as_deref());
            let began = Instant::now();
            let asked = async {
                sender.ready().await?;
                sender.send_request(request).await
            };
            let outcome = match timeout(PROBE_MAX, asked).await {
                Ok(Ok(answer)) => outcome_of(answer.status(), answer.headers()),
                _ => Outcome::Failed,
            };
            let probed = Event::Probed(id, path, (outcome, began.elapsed()));
            let _driver_gone = events.send(probed).await;
        });
    }

    /// Asks this gateway for its health, as the others do over their connections.
    pub(super) fn probe_own(&self) {
        metrics::counter!(names::FLEET_PROBES).increment(1);
        let (health, events) = (self.health.clone(), self.events.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let asked = health.oneshot(probe_request(None));
            let outcome = match timeout(PROBE_MAX, asked).await {
                Ok(Ok(answer)) => outcome_of(answer.status(), answer.headers()),
                _ => Outcome::Failed,
            };
            let probed = Event::ProbedOwn(outcome, began.elapsed());
            let _driver_gone = events.send(probed).await;
        });
    }
}

/// Asks for a path as it was handed on; for one that cannot be sent, as without one.
fn probe_request(path: Option<&str>) -> Request<Body> {
    let uri = |path: &str| Uri::try_from(format!("{ORIGIN}{path}")).ok();
    let uri = path.and_then(uri).or_else(|| uri(PROBE_PATHS[0]));
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.unwrap_or_default();
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_of_a_path_that_cannot_be_sent_asks_for_the_health() {
        let asked = |path| probe_request(path).uri().to_string();
        let health = format!("{ORIGIN}{}", PROBE_PATHS[0]);
        assert_eq!(asked(Some("/a%20b%3F")), format!("{ORIGIN}/a%20b%3F"));
        assert_eq!(asked(None), health);
        assert_eq!(asked(Some("/a b")), health);
    }
}
