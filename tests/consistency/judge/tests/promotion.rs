//! What is kept, lost and told when a replica becomes the primary.

use tidegate_model::Level;

use super::{A, B, broken, ms, read, write};
use crate::consistency::history::{History, Operation, Outcome};
use crate::consistency::judge::Guarantee;

#[test]
fn an_acknowledged_write_that_is_gone_is_rejected_unless_a_promotion_lost_it() {
    let history = History::of(&[write(A, 0, 10, (1, 1)).gives("1@10008")]).without(1);
    assert_eq!(history.clone().broken(), [Guarantee::Durable]);
    assert_eq!(
        history.clone().promoted(false).broken(),
        [Guarantee::Durable]
    );
    assert_eq!(history.promoted(true).broken(), []);
}

#[test]
fn what_was_shown_is_kept_as_what_was_acknowledged_is() {
    let operations = [
        write(A, 0, 10, (1, 1)).ends(Outcome::Unknown),
        read(A, Level::Eventual, 5, 20, (1, 1)),
    ];
    let history = History::of(&operations).without(1);
    assert_eq!(history.broken(), [Guarantee::Durable]);
}

#[test]
fn a_token_that_survives_what_it_stands_for_is_rejected() {
    let given = |token| {
        let history = History::of(&[write(A, 0, 10, (1, 1)).gives(token)]);
        history.without(1).promoted(true).broken()
    };
    assert_eq!(given("1@10008"), []);
    assert_eq!(given("1@10000"), [Guarantee::TokenCovers]);
    assert_eq!(given("2@10008"), [Guarantee::TokenCovers]);
}

/// Value 1 is kept, value 2 is lost, and value 3 is the second version in its place.
fn forked() -> [Operation; 5] {
    [
        write(A, 0, 10, (1, 1)).gives("1@9000"),
        write(A, 20, 30, (2, 2)).gives("1@11000"),
        read(A, Level::Strong, 40, 50, (2, 2)).gives("1@11000"),
        read(A, Level::Strong, 150, 160, (1, 1)).gives("2@10100"),
        write(A, 170, 180, (3, 2)).gives("2@10200"),
    ]
}

fn broken_fork(more: &[Operation]) -> Vec<Guarantee> {
    let operations = [&forked(), more].concat();
    History::of(&operations).without(2).promoted(true).broken()
}

#[test]
fn a_register_goes_on_after_a_loss_from_what_was_kept() {
    assert_eq!(broken_fork(&[read(A, Level::Strong, 190, 200, (3, 2))]), []);
    let whole = History::of(&forked()).promoted(false);
    assert_eq!(
        whole.broken(),
        [Guarantee::Linearizable],
        "nothing may be lost"
    );
}

#[test]
fn a_strong_read_of_what_was_overwritten_after_the_loss_is_rejected() {
    let old = read(A, Level::Strong, 190, 200, (1, 1)).gives("2@10300");
    assert_eq!(broken_fork(&[old]), [Guarantee::Linearizable]);
}

#[test]
fn what_is_lost_was_linearizable_while_it_was_there() {
    let old = read(A, Level::Strong, 60, 70, (1, 1)).gives("1@11000");
    assert_eq!(broken_fork(&[old]), [Guarantee::Linearizable]);
}

#[test]
fn whoever_saw_what_is_lost_is_told_or_served_what_it_saw() {
    let told = read(A, Level::Session, 190, 200, (0, 0)).with("1@11000");
    assert_eq!(broken_fork(&[told.ends(Outcome::Lost)]), []);
    let still_there = read(A, Level::Session, 190, 200, (2, 2));
    let still_there = still_there.with("1@11000").gives("1@11000");
    assert_eq!(broken_fork(&[still_there]), []);
}

#[test]
fn whoever_saw_what_is_lost_and_is_served_what_came_instead_is_rejected() {
    let asked = |key, shown| {
        let read = read(key, Level::Session, 190, 200, shown);
        broken_fork(&[read.with("1@11000").gives("2@11000")])
    };
    assert_eq!(asked(A, (3, 2)), [Guarantee::LossTold]);
    assert_eq!(asked(B, (0, 0)), [Guarantee::LossTold]);
    let older = asked(A, (1, 1));
    assert_eq!(older, [Guarantee::ReadYourWrites, Guarantee::LossTold]);
    let write = write(B, 190, 200, (4, 1)).with("1@11000").gives("2@11000");
    assert_eq!(broken_fork(&[write]), [Guarantee::LossTold]);
}

#[test]
fn what_is_lost_is_older_than_what_came_instead() {
    let lost = read(A, Level::Session, 190, 200, (2, 2)).gives("1@11000");
    assert_eq!(broken_fork(std::slice::from_ref(&lost)), []);
    let after = lost.with("2@10200");
    assert_eq!(broken_fork(&[after]), [Guarantee::ReadYourWrites]);
    let claimed = read(A, Level::Eventual, 300, 310, (2, 2)).claims(ms(100));
    assert_eq!(broken_fork(&[claimed]), [Guarantee::HonestStaleness]);
}

#[test]
fn a_bounded_read_need_not_show_what_is_lost_and_must_show_the_rest() {
    let within = |start, shown| {
        let read = read(A, Level::Bounded, start, start + 10, shown).within(ms(20));
        broken_fork(&[read])
    };
    assert_eq!(within(60, (1, 1)), [Guarantee::WithinBound], "not lost yet");
    assert_eq!(within(120, (1, 1)), []);
    assert_eq!(within(120, (0, 0)), [Guarantee::WithinBound]);
}

#[test]
fn a_loss_that_did_not_happen_is_not_told() {
    let told = |token| {
        let read = read(B, Level::Session, 190, 200, (0, 0)).with(token);
        broken_fork(&[read.ends(Outcome::Lost)])
    };
    assert_eq!(told("1@10008"), []);
    for survived in ["1@10000", "2@10008"] {
        assert_eq!(told(survived), [Guarantee::LossReal]);
    }
    let without_token = read(B, Level::Session, 190, 200, (0, 0)).ends(Outcome::Lost);
    assert_eq!(broken_fork(&[without_token]), [Guarantee::LossReal]);
    let without_promotion = read(B, Level::Session, 0, 10, (0, 0)).with("1@10008");
    let without_promotion = [without_promotion.ends(Outcome::Lost)];
    assert_eq!(broken(&without_promotion), [Guarantee::LossReal]);
}

#[test]
fn an_answer_that_disowns_the_token_begins_a_session_and_needs_a_reason() {
    let disowned = |token| {
        let read = read(A, Level::Session, 190, 200, (1, 1)).with(token);
        broken_fork(&[read.gives("2@11000").says("x; reason=token-unverifiable")])
    };
    assert_eq!(disowned("1@11000"), []);
    assert_eq!(disowned("2@10200"), [Guarantee::LossReal]);
    let without_promotion = read(A, Level::Session, 0, 10, (0, 0)).with("1@1");
    let without_promotion = without_promotion.says("x; reason=token-unverifiable");
    assert_eq!(broken(&[without_promotion]), [Guarantee::LossReal]);
}

#[test]
fn a_former_primary_that_answers_after_its_successor_is_rejected() {
    let former = |operation: Operation| {
        let after = read(A, Level::Strong, 110, 120, (0, 0)).gives("2@10100");
        let history = [after, operation.gives("1@11000")];
        History::of(&history).promoted(false).broken()
    };
    let write = |start| write(B, start, 140, (1, 1));
    assert_eq!(former(write(119)), [], "it may have been the primary still");
    assert_eq!(former(write(121)), [Guarantee::OnePrimary]);
    let strong = read(B, Level::Strong, 121, 140, (0, 0));
    assert_eq!(former(strong), [Guarantee::OnePrimary]);
    let replica = read(B, Level::Bounded, 121, 140, (0, 0));
    assert_eq!(former(replica), []);
    let elsewhere = Operation {
        gateway: 1,
        ..write(121)
    };
    assert_eq!(
        former(elsewhere),
        [],
        "no gateway knows what another has seen"
    );
}
