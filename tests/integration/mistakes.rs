//! Known mistakes of other systems, and the tests that fail if one is made here.
//!
//! | mistake | tests |
//! |---|---|
//! | a lag of NULL reads as zero | `monitor::a_role_that_may_not_identify_the_system_proves_nothing_and_fails_nothing`, `monitor::a_stopped_replica_is_unreachable_and_its_lag_unknown` |
//! | a poll fails and an old position lives on | `monitor::a_frozen_replica_ages_until_it_is_unreachable`, `monitor::a_stopped_replica_is_unreachable_and_its_lag_unknown` |
//! | a replica ahead on another timeline has a lag of zero | `monitor::a_replica_ahead_on_another_timeline_does_not_read_as_caught_up` |
//! | the operands of the comparison are swapped | `monitor::a_paused_replica_lags_until_it_resumes`, `monitor::the_bounds_hold_over_long_lines` |
//! | a recovery conflict fails the read | [`a_recovery_conflict_is_answered_by_another_node`] |
//! | a true collision is tried again | [`a_true_serialization_failure_is_told_and_not_tried_elsewhere`], [`a_deadlock_is_told_and_its_write_not_sent_again`] |
//! | a full pool stalls the monitor | [`a_full_pool_does_not_keep_the_monitor_from_seeing`] |

use futures_util::future::join;
use reqwest::{Method, Response};
use tidegate::testkit::Cluster;
use tokio::task::JoinSet;

use crate::world::{World, configured, gateway_of, problem, told};

/// On a replica it takes until it is cancelled, elsewhere no time.
const SLOW_ON_REPLICAS: &str = r#"
[[policy]]
path = "/things"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/things"
sql = "select count(*) as things, (case when pg_is_in_recovery() then pg_sleep(4) end)::text as slept from things"
single = true
"#;

#[tokio::test]
async fn a_recovery_conflict_is_answered_by_another_node() {
    let schema = "create table things (id int)";
    let mut world = World::with_file(schema, SLOW_ON_REPLICAS).await;
    let impatient = ("max_standby_streaming_delay", "0");
    world.replica().set(impatient.0, impatient.1).await.unwrap();
    let reading = tokio::spawn(world.request(Method::GET, "/things").send());
    let asleep = "exists (select from pg_stat_activity where wait_event = 'PgSleep')";
    world.replica().wait_until(asleep).await.unwrap();
    let lock = "begin; lock table things in access exclusive mode; commit";
    world.cluster.primary.execute(lock).await.unwrap();
    let answer = reading.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(told(&answer, "node"), "primary");
    // On a slow machine the next node is asked before the conflict is told.
    let reason = told(&answer, "reason");
    assert!(["retry", "hedge"].contains(&reason), "{reason}");
    let cancelled = "canceling statement due to conflict with recovery";
    assert!(world.replica().log().contains(cancelled));
}

/// The primary is the nearest node here, so an eventual read has another node to try.
const AT_THE_PRIMARY: &str = r#"
[topology]
primary_region = "eu-west-1"
[[topology.replica]]
region = "ap-southeast-1"
url = "REPLICA"
[[policy]]
path = "/report"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/report"
sql = "select batch, (select count(*) from receipts) as receipts from control"
single = true
"#;

/// A transaction that has read the old batch and written a receipt is prepared, so it can no longer
/// be the one that fails; a transaction that sees the new batch without that receipt must.
#[tokio::test]
async fn a_true_serialization_failure_is_told_and_not_tried_elsewhere() {
    let mut cluster = Cluster::start(1).await.unwrap();
    let schema = "create table control (batch int); insert into control values (1); \
        create table receipts (batch int)";
    cluster.primary.execute(schema).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let Cluster {
        primary, replicas, ..
    } = &mut cluster;
    for server in [&mut replicas[0], primary] {
        server.set("max_prepared_transactions", "1").await.unwrap();
        server.restart().await.unwrap();
    }
    let (name, level) = ("default_transaction_isolation", "serializable");
    cluster.primary.set(name, level).await.unwrap();
    let text = AT_THE_PRIMARY.replace("REPLICA", &cluster.replicas[0].url());
    let gateway = gateway_of(&cluster).env("DATABASE_READ_REPLICA_URL", "");
    let gateway = configured(&cluster, gateway, &text);
    let world = World::over(cluster, gateway).await;
    let answer = world.get("/report").await;
    assert_eq!(told(&answer, "node"), "primary");

    let pivot = world.cluster.primary.client().await.unwrap();
    let receipt = "begin; select batch from control; insert into receipts values (1)";
    pivot.batch_execute(receipt).await.unwrap();
    let next = "update control set batch = 2";
    world.cluster.primary.execute(next).await.unwrap();
    let prepare = "prepare transaction 'pivot'";
    pivot.batch_execute(prepare).await.unwrap();
    problem(world.get("/report").await, 409, "conflict").await;
}

/// Two transactions that lock two rows in opposite order; neither continues before both have begun.
const SWAPS: &str = r#"
[[endpoint]]
method = "POST"
path = "/swap/{one}/{other}"
sql = "select swap(:path.one, :path.other) as done"
"#;
const SWAP: &str = "
create table rows (id int primary key, swapped int not null default 0);
insert into rows values (1), (2);
create sequence attempts;
create function swap(one int, other int) returns void language plpgsql as $$
begin
    update rows set swapped = swapped + 1 where id = one;
    perform nextval('attempts');
    while (select last_value < 2 from attempts) loop
        perform pg_sleep(0.01);
    end loop;
    update rows set swapped = swapped + 1 where id = other;
end $$;
";

#[tokio::test]
async fn a_deadlock_is_told_and_its_write_not_sent_again() {
    let world = World::with_file(SWAP, SWAPS).await;
    let (one, other) = (
        world.post_json("/swap/1/2", "{}"),
        world.post_json("/swap/2/1", "{}"),
    );
    let mut answers: [Response; 2] = join(one, other).await.into();
    answers.sort_by_key(Response::status);
    let [done, refused] = answers;
    assert_eq!(done.status(), 200);
    problem(refused, 409, "conflict").await;
    let attempts = "select last_value from attempts";
    let attempts = world.cluster.primary.value(attempts).await.unwrap();
    assert_eq!(attempts.as_deref(), Some("2"));
}

/// Two connections to each node, and reads that keep them for as long as a statement may take.
const HELD: &str = r#"
[pool]
connections_max = 2
acquire_timeout = "100ms"
statement_timeout = "60s"
[server]
request_deadline = "60s"
[replication]
max_lag = "300ms"
[[policy]]
path = "/held"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/held"
sql = "select pg_sleep(50)::text as held"
"#;

#[tokio::test]
async fn a_full_pool_does_not_keep_the_monitor_from_seeing() {
    let schema = "create table documents (updated_at timestamptz); \
        insert into documents values (now())";
    let mut world = World::with_file(schema, HELD).await;
    world.health_turns(200).await;
    let mut held = JoinSet::new();
    for level in ["eventual", "strong"] {
        for _ in 0..2 {
            let request = world.request(Method::GET, "/held");
            held.spawn(request.header("X-Consistency", level).send());
        }
    }
    let full = "count(*) = 2 from pg_stat_activity where wait_event = 'PgSleep'";
    world.cluster.primary.wait_until(full).await.unwrap();
    world.replica().wait_until(full).await.unwrap();
    problem(world.get_at("/held", "strong").await, 503, "overloaded").await;

    world.replica().pause_replay().await.unwrap();
    world.write().await;
    let body = world.health_turns(503).await;
    assert_eq!(body["checks"]["replica"]["condition"], "lagging", "{body}");
    world.replica().resume_replay().await.unwrap();
    world.health_turns(200).await;
    assert!(
        held.try_join_next().is_none(),
        "the pools were full meanwhile"
    );
}
