//! What the levels promise, and what holds at all of them.

use tidegate_model::Level;

use super::{A, B, broken, ms, read, write};
use crate::consistency::history::{History, Outcome};
use crate::consistency::judge::Guarantee;

#[test]
fn an_empty_history_breaks_nothing() {
    assert_eq!(broken(&[]), []);
}

#[test]
fn overlapping_strong_operations_may_take_effect_in_either_order() {
    let history = [
        write(A, 0, 10, (1, 1)),
        write(A, 20, 40, (2, 2)),
        read(A, Level::Strong, 25, 30, (1, 1)),
        read(A, Level::Strong, 31, 35, (2, 2)),
        read(A, Level::Strong, 50, 51, (2, 2)),
        read(B, Level::Strong, 50, 51, (0, 0)),
    ];
    assert_eq!(broken(&history), []);
}

#[test]
fn a_strong_read_of_an_overwritten_value_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 1)),
        write(A, 20, 40, (2, 2)),
        read(A, Level::Strong, 50, 60, (1, 1)),
    ];
    assert_eq!(broken(&history), [Guarantee::Linearizable]);
}

#[test]
fn a_strong_read_that_goes_back_during_a_write_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 1)),
        write(A, 20, 90, (2, 2)),
        read(A, Level::Strong, 30, 40, (2, 2)),
        read(A, Level::Strong, 50, 60, (1, 1)),
    ];
    assert_eq!(broken(&history), [Guarantee::Linearizable]);
}

#[test]
fn a_write_of_unknown_outcome_may_show_late_or_never() {
    let lost = write(A, 0, 10, (1, 1)).ends(Outcome::Unknown);
    let late = write(A, 0, 10, (2, 2)).ends(Outcome::Unknown);
    let history = [
        lost,
        late,
        read(A, Level::Strong, 20, 30, (0, 0)),
        read(A, Level::Strong, 40, 50, (2, 2)),
    ];
    assert_eq!(broken(&history), []);
}

#[test]
fn a_write_of_unknown_outcome_that_was_seen_cannot_be_unseen() {
    let history = [
        write(A, 0, 10, (1, 1)).ends(Outcome::Unknown),
        read(A, Level::Strong, 20, 30, (1, 1)),
        read(A, Level::Strong, 40, 50, (0, 0)),
    ];
    assert_eq!(broken(&history), [Guarantee::Linearizable]);
}

#[test]
fn without_a_token_a_session_read_may_show_anything_that_was_written() {
    let history = [
        write(A, 0, 10, (1, 1)),
        read(A, Level::Session, 20, 30, (1, 1)),
        read(A, Level::Session, 40, 50, (0, 0)),
        read(A, Level::Eventual, 60, 70, (0, 0)),
    ];
    assert_eq!(broken(&history), []);
}

#[test]
fn a_session_that_misses_its_own_write_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 1)).gives("after"),
        read(A, Level::Session, 20, 30, (0, 0)).with("after"),
    ];
    assert_eq!(broken(&history), [Guarantee::ReadYourWrites]);
}

#[test]
fn a_session_that_sees_less_than_before_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 1)),
        read(A, Level::Session, 20, 30, (1, 1)).gives("seen"),
        read(B, Level::Session, 40, 50, (0, 0))
            .with("seen")
            .gives("seen more"),
        read(A, Level::Session, 60, 70, (0, 0)).with("seen more"),
    ];
    assert_eq!(broken(&history), [Guarantee::MonotonicReads]);
}

#[test]
fn a_session_whose_writes_change_places_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 2)).gives("first"),
        write(A, 20, 30, (2, 1)).with("first"),
    ];
    assert_eq!(broken(&history), [Guarantee::MonotonicWrites]);
}

#[test]
fn a_write_that_comes_before_what_its_session_read_is_rejected() {
    let history = [
        write(A, 0, 100, (1, 2)),
        read(A, Level::Session, 20, 30, (1, 2)).gives("seen"),
        write(A, 40, 50, (2, 1)).with("seen"),
    ];
    assert_eq!(broken(&history), [Guarantee::WritesFollowReads]);
}

#[test]
fn whoever_sees_a_write_and_not_what_its_writer_had_seen_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 1)),
        read(A, Level::Session, 20, 30, (1, 1)).gives("seen"),
        write(B, 40, 50, (2, 1)).with("seen"),
        read(B, Level::Session, 60, 70, (2, 1)).gives("other"),
        read(A, Level::Session, 80, 90, (0, 0)).with("other"),
    ];
    assert_eq!(broken(&history), [Guarantee::WritesFollowReads]);
}

#[test]
fn a_bounded_read_may_miss_what_is_younger_than_its_bound_and_no_more() {
    let missed = |bound| {
        let read = read(A, Level::Bounded, 110, 500, (0, 0)).within(bound);
        broken(&[write(A, 0, 10, (1, 1)), read])
    };
    assert_eq!(missed(ms(100)), []);
    assert_eq!(missed(ms(99)), [Guarantee::WithinBound]);
}

#[test]
fn an_answer_that_claims_to_be_older_than_its_bound_is_rejected() {
    let claimed = |staleness| {
        let read = read(A, Level::Bounded, 110, 500, (0, 0)).within(ms(500));
        broken(&[read.claims(staleness)])
    };
    assert_eq!(claimed(ms(500)), []);
    assert_eq!(claimed(ms(501)), [Guarantee::ClaimWithinBound]);
}

#[test]
fn an_answer_older_than_it_claims_is_rejected_at_any_level() {
    let claimed = |staleness| {
        let read = read(A, Level::Eventual, 110, 500, (0, 0)).claims(staleness);
        broken(&[write(A, 0, 10, (1, 1)), read])
    };
    assert_eq!(claimed(ms(100)), []);
    assert_eq!(claimed(ms(99)), [Guarantee::HonestStaleness]);
}

#[test]
fn an_answer_at_a_lower_level_is_rejected() {
    let history = [read(A, Level::Session, 0, 10, (0, 0)).answered_at(Level::Eventual)];
    assert_eq!(broken(&history), [Guarantee::LevelKept]);
}

#[test]
fn a_value_that_nobody_wrote_is_rejected() {
    let history = [read(A, Level::Eventual, 0, 10, (7, 1))];
    assert_eq!(broken(&history), [Guarantee::WrittenValues]);
}

#[test]
fn a_value_of_another_register_is_rejected() {
    let history = [
        write(B, 0, 10, (7, 1)),
        read(A, Level::Eventual, 20, 30, (7, 1)),
    ];
    assert_eq!(broken(&history), [Guarantee::WrittenValues]);
}

#[test]
fn a_value_that_shows_before_it_is_written_is_rejected() {
    let history = [
        read(A, Level::Eventual, 0, 10, (1, 1)),
        write(A, 20, 30, (1, 1)),
    ];
    assert_eq!(broken(&history), [Guarantee::WrittenValues]);
}

#[test]
fn a_refused_write_that_shows_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 1)).ends(Outcome::Refused),
        read(A, Level::Eventual, 20, 30, (1, 1)),
    ];
    assert_eq!(broken(&history), [Guarantee::WrittenValues]);
}

#[test]
fn a_write_that_took_effect_twice_is_rejected() {
    let history = [
        write(A, 0, 10, (1, 1)),
        read(A, Level::Eventual, 20, 30, (1, 2)),
    ];
    assert_eq!(broken(&history), [Guarantee::WrittenOnce]);
}

#[test]
fn a_refused_write_that_took_effect_is_rejected_though_nobody_saw_it() {
    let mut history = History::of(&[write(A, 0, 10, (1, 1)).ends(Outcome::Refused)]);
    assert_eq!(history.broken(), []);
    history.ledger.insert(1, vec![1]);
    assert_eq!(history.broken(), [Guarantee::WrittenValues]);
}

#[test]
fn a_write_of_unknown_outcome_that_took_effect_twice_is_rejected_though_nobody_saw_it() {
    let mut history = History::of(&[write(A, 0, 10, (1, 1)).ends(Outcome::Unknown)]);
    history.ledger.insert(1, vec![1]);
    assert_eq!(history.broken(), []);
    history.ledger.insert(1, vec![1, 2]);
    assert_eq!(history.broken(), [Guarantee::WrittenOnce]);
}

/// The write is acknowledged at 100, and a replica shows it at 30.
#[test]
fn the_primary_may_lack_what_a_replica_showed_until_it_is_acknowledged_and_no_longer() {
    let asked_at = |start, level| {
        let history = [
            write(A, 0, 100, (1, 1)),
            read(A, Level::Session, 20, 30, (1, 1)).gives("seen"),
            read(A, level, start, start + 10, (0, 0)).with("seen"),
        ];
        broken(&history)
    };
    assert_eq!(asked_at(40, Level::Strong), []);
    let late = asked_at(110, Level::Strong);
    assert_eq!(late, [Guarantee::Linearizable, Guarantee::MonotonicReads]);
    let replica = asked_at(40, Level::Session);
    assert_eq!(replica, [Guarantee::MonotonicReads]);
}
