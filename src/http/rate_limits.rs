//! The remaining budget of every client on every policy row with a rate limit.
//!
//! The algorithm is the generic cell rate algorithm (GCRA, ITU-T I.371), from the `governor` crate.
//! The response headers follow draft-ietf-httpapi-ratelimit-headers-11.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};
use http::HeaderValue;
use tokio::time::Instant;

use super::Client;
use super::generations::Generations;
use tidegate_model::PathPattern;
use tidegate_policy::RateLimit;
use tidegate_policy::{PolicyTable, Row};

/// Most clients remembered per row: about 4 MB.
const CLIENTS_MAX: usize = 65_536;

/// A generation of clients lasts at least this long, so that a limit per second does not discard
/// its state every second.
const GENERATION_MIN: Duration = Duration::from_secs(10);

/// The budgets of all rows with a rate limit; rows do not share budgets.
#[derive(Debug, Default)]
pub struct RateLimits {
    /// By the row's literal, which is unique.
    rows: HashMap<Box<str>, Arc<LimitedRow>>,
}

impl RateLimits {
    /// Starts with a full budget for every client on every row that has a limit.
    #[must_use]
    pub fn of(table: &PolicyTable) -> Self {
        let limited = table
            .rows()
            .filter_map(|row| Some((row, row.rate_limit()?)))
            .map(|(row, limit)| {
                let limited = LimitedRow::new(row.pattern(), limit);
                (row.pattern().literal().into(), Arc::new(limited))
            });
        Self {
            rows: limited.collect(),
        }
    }

    /// Keeps the budgets of rows that have not changed.
    pub fn go_on_from(&mut self, before: &Self) {
        for (literal, row) in &mut self.rows {
            if let Some(known) = before.rows.get(literal)
                && (&known.pattern, known.limit) == (&row.pattern, row.limit)
            {
                *row = Arc::clone(known);
            }
        }
    }

    /// Whether no row has a limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Finds the budgets of a row, if it has a limit.
    #[must_use]
    pub fn row(&self, row: &Row) -> Option<&Arc<LimitedRow>> {
        row.rate_limit()?;
        self.rows.get(row.pattern().literal())
    }
}

/// One row's limit, and the remaining budget of every client.
pub struct LimitedRow {
    /// The paths it covers.
    pub pattern: PathPattern,
    /// The limit.
    pub limit: RateLimit,
    /// `RateLimit-Policy`: the same for all clients.
    pub policy_field: HeaderValue,
    name: String,
    limiter: RateLimiter<Client, Generations<Client>, Monotonic, StateInformationMiddleware>,
}

/// The result of charging one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// It is allowed, and this many more are allowed right after it.
    Left(u32),
    /// It is refused; the next one is allowed after this time.
    Refused(Duration),
}

impl LimitedRow {
    fn new(pattern: &PathPattern, limit: RateLimit) -> Self {
        let quota = Quota::with_period(limit.interval())
            .expect("a million requests a second are a microsecond apart")
            .allow_burst(limit.burst);
        let clients = Generations::new(CLIENTS_MAX, limit.refill().max(GENERATION_MIN));
        let name = quoted(&pattern.to_string());
        Self {
            pattern: pattern.clone(),
            limit,
            policy_field: policy_field(&name, limit),
            name,
            limiter: RateLimiter::new(quota, clients, Monotonic(Instant::now())),
        }
    }

    /// Charges one request to a client's budget.
    #[must_use]
    pub fn spend(&self, client: Client) -> Spent {
        match self.limiter.check_key(&client) {
            Ok(state) => Spent::Left(state.remaining_burst_capacity()),
            Err(refused) => Spent::Refused(refused.wait_time_from(self.limiter.clock().now())),
        }
    }

    /// `RateLimit`: the client's remaining requests, and the time in which as many are restored, so
    /// that a client that spreads the one over the other stays within the limit.
    #[must_use]
    pub fn field(&self, spent: Spent) -> HeaderValue {
        let (left, window) = match spent {
            Spent::Left(left) => (left, self.limit.interval() * left.max(1)),
            Spent::Refused(wait) => (0, wait),
        };
        let text = format!("{};r={left};t={}", self.name, whole_seconds(window));
        HeaderValue::try_from(text).expect("the name is in ASCII")
    }
}

impl std::fmt::Debug for LimitedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Client addresses are omitted.
        write!(f, "LimitedRow({} {})", self.pattern, self.limit)
    }
}

/// Whole seconds, rounded up, at least one, so that waiting for that time suffices.
#[must_use]
pub fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_nanos().div_ceil(1_000_000_000) as u64).max(1)
}

/// The clock of a limiter: the time since its start. Tokio's can be paused.
#[derive(Debug, Clone)]
struct Monotonic(Instant);

impl Clock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// An RFC 9651 string; characters that it cannot contain are percent-encoded.
fn quoted(text: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const QUOTED: &AsciiSet = &CONTROLS.add(b'"').add(b'\\').add(b'%');
    format!("\"{}\"", utf8_percent_encode(text, QUOTED))
}

fn policy_field(name: &str, limit: RateLimit) -> HeaderValue {
    let RateLimit {
        requests,
        window,
        burst,
    } = limit;
    let mut text = format!("{name};q={requests};w={}", window.duration().as_secs());
    if burst != requests {
        text += &format!(";tidegate-burst={burst}");
    }
    HeaderValue::try_from(text).expect("the name is in ASCII")
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use governor::state::keyed::HashMapStateStore;
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use tidegate_model::Consistency;
    use tidegate_model::Place;
    use tidegate_policy::PolicyRow;

    fn table(rows: &[(&str, &str)]) -> PolicyTable {
        let row = |(path, limit): &(&str, &str)| PolicyRow {
            place: Place::Name("test"),
            path: (*path).to_owned(),
            consistency: Consistency::STRONG,
            cache_control: None,
            session_cookie: false,
            rate_limit: (!limit.is_empty()).then(|| limit.parse().unwrap()),
            cors: None,
        };
        PolicyTable::build(&rows.iter().map(row).collect::<Vec<_>>()).unwrap()
    }

    fn limited(limit: &str) -> Arc<LimitedRow> {
        let table = table(&[("/x", limit)]);
        let limits = RateLimits::of(&table);
        Arc::clone(limits.row(table.lookup("/x").unwrap()).unwrap())
    }

    fn client(number: u32) -> Client {
        Client::from(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_send_its_burst_and_then_goes_on_at_the_rate() {
        let row = limited("60/min;burst=3");
        let spend = || row.spend(client(1));
        assert_eq!([spend(), spend(), spend()], [2, 1, 0].map(Spent::Left));
        assert_eq!(spend(), Spent::Refused(Duration::from_secs(1)));
        advance(Duration::from_millis(400)).await;
        assert_eq!(spend(), Spent::Refused(Duration::from_millis(600)));
        assert_eq!(
            row.spend(client(2)),
            Spent::Left(2),
            "another client has its own budget"
        );
        advance(Duration::from_millis(600)).await;
        assert_eq!(spend(), Spent::Left(0));
        advance(Duration::from_secs(60)).await;
        assert_eq!(
            spend(),
            Spent::Left(2),
            "no more than the burst is restored"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_fields_say_what_is_left_and_how_long_it_must_last() {
        let row = limited("600/min;burst=50");
        assert_eq!(row.policy_field, r#""/x";q=600;w=60;tidegate-burst=50"#);
        assert_eq!(row.field(Spent::Left(49)), r#""/x";r=49;t=5"#);
        assert_eq!(row.field(Spent::Left(0)), r#""/x";r=0;t=1"#);
        let refused = Spent::Refused(Duration::from_millis(1_001));
        assert_eq!(row.field(refused), r#""/x";r=0;t=2"#);
        assert_eq!(limited("5/h").policy_field, r#""/x";q=5;w=3600"#);
        assert_eq!(quoted("/a\"\\é"), r#""/a%22%5C%C3%A9""#);
    }

    #[tokio::test(start_paused = true)]
    async fn rows_share_nothing_and_those_without_a_limit_have_none() {
        let table = table(&[("/x", "1/h"), ("/x/y", "1/h"), ("/free", "")]);
        let limits = RateLimits::of(&table);
        let spend = |path| {
            let row = limits.row(table.lookup(path).unwrap())?;
            Some(row.spend(client(1)))
        };
        assert_eq!(spend("/x"), Some(Spent::Left(0)));
        assert_eq!(spend("/x/y"), Some(Spent::Left(0)));
        assert!(matches!(spend("/x"), Some(Spent::Refused(_))));
        assert_eq!(spend("/free"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_keeps_the_budgets_of_the_rows_that_did_not_change() {
        let before = table(&[("/a", "1/h"), ("/b", "1/h"), ("/c/*", "1/h")]);
        let before = (RateLimits::of(&before), before);
        let spend = |(limits, table): &(RateLimits, PolicyTable), path| {
            let row = limits.row(table.lookup(path).unwrap()).unwrap();
            matches!(row.spend(client(1)), Spent::Left(_))
        };
        assert!(["/a", "/b", "/c"].iter().all(|path| spend(&before, path)));
        let after = table(&[("/a", "1/h"), ("/b", "2/h"), ("/c*", "1/h"), ("/d", "1/h")]);
        let mut after = (RateLimits::of(&after), after);
        after.0.go_on_from(&before.0);
        let may = ["/a", "/b", "/c", "/d"].map(|path| spend(&after, path));
        assert_eq!(may, [false, true, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn more_clients_than_there_is_room_for_are_served_and_a_regular_one_stays_limited() {
        let row = limited("2/h");
        let regular = client(0);
        assert_eq!(row.spend(regular), Spent::Left(1));
        for number in 1..=200_000 {
            assert_eq!(row.spend(client(number)), Spent::Left(1));
            if number == 100 {
                assert_eq!(row.spend(regular), Spent::Left(0));
            }
            if number % 20_000 == 0 {
                let spent = row.spend(regular);
                assert!(
                    matches!(spent, Spent::Refused(_)),
                    "an active client is not forgotten"
                );
            }
        }
    }

    proptest! {
        /// Dropping by age is not observable: the result is the same as if nothing were ever
        /// dropped.
        #[test]
        fn what_is_forgotten_in_time_would_not_have_mattered(
            asked in proptest::collection::vec((0_u32..4, 0_u64..9_000), 1..200),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let row = limited("20/min;burst=4"); // restored in 12 s
                let clock = Monotonic(Instant::now());
                let quota = Quota::with_period(row.limit.interval()).unwrap();
                let quota = quota.allow_burst(row.limit.burst);
                let unforgetting: RateLimiter<_, _, _, StateInformationMiddleware> = {
                    let states = HashMapStateStore::<Client>::default();
                    RateLimiter::new(quota, states, clock)
                };
                for (number, pause_ms) in asked {
                    advance(Duration::from_millis(pause_ms)).await;
                    let expected = unforgetting.check_key(&client(number));
                    let expected = expected.map(|state| state.remaining_burst_capacity());
                    match row.spend(client(number)) {
                        Spent::Left(left) => assert_eq!(Ok(left), expected),
                        Spent::Refused(_) => assert!(expected.is_err()),
                    }
                }
            });
        }
    }
}
