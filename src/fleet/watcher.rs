//! What a peer that watches this gateway has been sent, and what it is sent next.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;

use crate::allowance::Allowance;
use crate::gateway_id::GatewayId;
use crate::gateways::Gateways;
use crate::own::{AT_ONCE, STEADILY, Voice};
use crate::record::Record;
use crate::wire;

/// Everything is sent again this often.
const ALL_EVERY: Duration = Duration::from_secs(30);

/// What a stream may cost in bytes, steadily and at once: a long Update makes the next one wait, but no
/// longer than a second.
const BYTES_STEADILY: f64 = 900.0;
const BYTES_AT_ONCE: f64 = 100.0;

/// Around an Update: the head of a DATA frame (9) and that of a gRPC message (5).
const FRAMING_BYTES: usize = 14;

/// Records of an Update other than one with everything: as many as a second pays for.
const RECORDS_MAX: usize = 24;

/// Updates that must be left of what may be sent, one of them for what is urgent: else it would wait behind
/// quantities that change all the time.
const LEFT_FOR_ANY: f64 = 2.0;
const LEFT_FOR_URGENT: f64 = 1.0;

/// A stream of Updates to a peer.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    /// A gateway of the same region hears this one only: all of them watch each other.
    sibling: bool,
    /// What was sent last of each gateway, and when.
    sent: BTreeMap<GatewayId, (Record, Duration)>,
    /// When everything was sent.
    all_sent: Option<Duration>,
    updates: Allowance,
    /// What is urgent does not wait for these.
    bytes: Allowance,
}

impl Watcher {
    pub(crate) fn new(sibling: bool) -> Self {
        Self {
            sibling,
            sent: BTreeMap::new(),
            all_sent: None,
            updates: Allowance::new(STEADILY, AT_ONCE),
            bytes: Allowance::new(BYTES_STEADILY, BYTES_AT_ONCE),
        }
    }

    /// Returns the Update that is due, encoded.
    pub(crate) fn update(
        &mut self,
        own: &Voice,
        siblings: &Gateways,
        now: Duration,
    ) -> Option<Vec<u8>> {
        let mine = own.made()?;
        if !self.updates.has(LEFT_FOR_URGENT, now) {
            return None;
        }
        let all = self
            .all_sent
            .is_none_or(|sent| now.saturating_sub(sent) >= ALL_EVERY);
        let siblings = (!self.sibling).then_some(siblings);
        let told = siblings.into_iter().flat_map(Gateways::iter);
        let told = told.map(|(id, gateway)| (id, &gateway.record));
        let mut due: Vec<_> = std::iter::once((own.id, mine)).chain(told).collect();
        let gone = self.gone(own.id, siblings);
        let urgent = !gone.is_empty() || due.iter().any(|(id, it)| self.is_urgent(*id, it));
        let least = if urgent {
            LEFT_FOR_URGENT
        } else {
            LEFT_FOR_ANY
        };
        if !self.updates.has(least, now) || !self.bytes.has(0.0, now) && !urgent {
            return None;
        }
        if !all {
            due.retain(|(id, record)| self.is_due(*id, record, *id == own.id));
            due.sort_by_key(|(id, record)| {
                let first = *id == own.id || self.is_urgent(*id, record);
                (!first, self.sent.get(id).map(|(_, sent)| *sent))
            });
            due.truncate(RECORDS_MAX);
        }
        if due.is_empty() && gone.is_empty() {
            return None;
        }
        if all {
            self.all_sent = Some(now);
        }
        Some(self.send(&due, gone, now))
    }

    fn send(&mut self, due: &[(GatewayId, &Record)], gone: Vec<u64>, now: Duration) -> Vec<u8> {
        for id in &gone {
            self.sent.remove(&GatewayId(*id));
        }
        let sent = due.iter().map(|(id, record)| (*id, (**record, now)));
        self.sent.extend(sent);
        let records = due.iter().map(|(id, record)| record.sent_by(*id));
        let update = wire::Update {
            records: records.collect(),
            gone,
        };
        let bytes = update.encode_to_vec();
        self.updates.spend(1.0);
        self.bytes.spend((bytes.len() + FRAMING_BYTES) as f64);
        bytes
    }

    fn gone(&self, own: GatewayId, siblings: Option<&Gateways>) -> Vec<u64> {
        let is_told = |id: GatewayId| id == own || siblings.is_some_and(|it| it.has(id));
        let ids = self.sent.keys().filter(|id| !is_told(**id));
        ids.map(|id| id.0).collect()
    }

    /// Its own record is sent whenever it was made anew, another when it says something new.
    fn is_due(&self, id: GatewayId, record: &Record, own: bool) -> bool {
        self.sent.get(&id).is_none_or(|(sent, _)| {
            (own && record.sequence != sent.sequence) || record.differs_from(sent)
        })
    }

    fn is_urgent(&self, id: GatewayId, record: &Record) -> bool {
        let sent = self.sent.get(&id);
        sent.is_none_or(|(sent, _)| record.is_urgent_after(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::own::Own;

    #[test]
    fn what_is_urgent_does_not_wait_behind_quantities_that_change_all_the_time() {
        let mut own = Voice::new(GatewayId(1));
        let (siblings, mut clock) = (Gateways::default(), Clock::default());
        let mut watcher = Watcher::new(false);
        for step in 1..=60u32 {
            clock.advance(Duration::from_millis(50) * step);
            let busy = Own {
                saturation_pct: (step % 50 * 2) as u8,
                ..Own::default()
            };
            own.update(&busy, false, &clock);
            watcher.update(&own, &siblings, clock.raw);
            let (mut own, mut watcher, mut clock) = (own.clone(), watcher.clone(), clock);
            clock.advance(clock.raw + Duration::from_millis(1));
            let leaves = Own {
                leaving: true,
                ..busy
            };
            own.update(&leaves, false, &clock);
            let update = watcher.update(&own, &siblings, clock.raw);
            assert!(update.is_some(), "step {step}");
        }
    }

    /// A region of 64 gateways, of which all change all the time.
    #[test]
    fn each_of_many_gateways_has_its_turn() {
        let mut own = Voice::new(GatewayId(1));
        let (mut siblings, mut clock) = (Gateways::default(), Clock::default());
        let mut watcher = Watcher::new(false);
        let mut last = BTreeMap::new();
        for step in 1..=600u32 {
            clock.advance(Duration::from_millis(50) * step);
            own.update(&Own::default(), false, &clock);
            for sibling in 2..=64 {
                let mut quantities = vec![0; 12];
                quantities[10] = (step % 50 * 2) as u8;
                let sent = wire::Record {
                    gateway: sibling,
                    sequence: step,
                    quantities,
                    ..wire::Record::default()
                };
                let (id, record) = Record::parse(&sent).unwrap();
                siblings.admit(id, record, &clock).unwrap();
            }
            let update = watcher.update(&own, &siblings, clock.raw);
            let update = update.map(|update| wire::Update::parse(&update).unwrap());
            for record in update.into_iter().flat_map(|update| update.records) {
                last.insert(record.gateway, step);
            }
        }
        assert_eq!(last.len(), 64);
        let oldest = last.values().min().unwrap();
        assert!(*oldest > 600 - 4 * 20, "not since step {oldest}");
    }

    #[test]
    fn a_sibling_that_is_no_longer_known_is_told_as_gone() {
        let mut own = Voice::new(GatewayId(1));
        let (mut siblings, mut clock) = (Gateways::default(), Clock::default());
        let mut watcher = Watcher::new(false);
        let sent = wire::Record {
            gateway: 2,
            sequence: 1,
            quantities: vec![0; 12],
            ..wire::Record::default()
        };
        let (id, record) = Record::parse(&sent).unwrap();
        siblings.admit(id, record, &clock).unwrap();
        let mut told = |siblings: &Gateways, second| {
            clock.advance(Duration::from_secs(second));
            own.update(&Own::default(), false, &clock);
            let update = watcher.update(&own, siblings, clock.raw).unwrap();
            let update = wire::Update::parse(&update).unwrap();
            (update.records.len(), update.gone)
        };
        assert_eq!(told(&siblings, 1), (2, vec![]));
        siblings.remove(id);
        assert_eq!(told(&siblings, 2), (1, vec![2]));
        assert_eq!(told(&siblings, 3), (1, vec![]));
    }
}
