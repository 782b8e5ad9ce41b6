//! Writes keep their session only where the catalogue proves that nothing but values of sequences is left.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate::testkit::until;

use crate::world::{DEADLINE, World};

/// `leak` leaves a setting; `sly` is declared as if it could not.
const SCHEMA: &str = "
    create function leak() returns int language plpgsql
        as 'begin perform set_config(''app.user'', ''eve'', false); return null; end';
    create function sly(i int) returns int language plpgsql immutable
        as 'begin perform set_config(''app.user'', ''eve'', false); return i; end';
    create function leaking() returns trigger language plpgsql
        as 'begin perform leak(); return coalesce(new, old); end';
    create operator === (leftarg = int, rightarg = int, function = int4eq);
    create sequence numbers;

    create table plain (id bigint generated always as identity primary key, number serial,
        key uuid default gen_random_uuid(), text text not null default 'x' check (length(text) < 100),
        at timestamptz default clock_timestamp(), long int generated always as (length(text)) stored);
    create table leaders (id int primary key);
    create table followers (id int references leaders on delete cascade on update set null);
    create table pieces (id int) partition by range (id);
    create table piece partition of pieces default;
    create table ranges (id int4range, exclude using gist (id with &&));
    create table late (id int unique deferrable initially deferred);
    insert into leaders values (1), (2);
    insert into followers values (1), (2);

    create table triggered (id int);
    create table guarded (id int);
    create table parents (id int primary key);
    create table children (id int references parents on delete cascade);
    create table givers (id int primary key);
    create table takers (id int default leak() references givers on update set default);
    create table grandparents (id int primary key);
    create table middles (id int primary key references grandparents on delete cascade);
    create table grandchildren (id int references middles on delete set null);
    create table parted (id int) partition by range (id);
    create table part (id int);
    create table divided (id int) partition by range (id);
    create table division partition of divided default;
    create table ancestors (id int);
    create table heirs () inherits (ancestors);
    create table viewed (id int);
    insert into guarded values (1);
    insert into parents values (1);
    insert into children values (1);
    insert into givers values (1);
    insert into takers values (1);
    insert into grandparents values (1);
    insert into middles values (1);
    insert into grandchildren values (1);
    insert into heirs values (1);
    create trigger leaking before insert on triggered for each row execute function leaking();
    create trigger leaking before update on guarded for each row when (leak() is null)
        execute function suppress_redundant_updates_trigger();
    create trigger leaking before delete on children for each row execute function leaking();
    create trigger leaking before update on grandchildren for each row execute function leaking();
    create trigger leaking before insert on part for each row execute function leaking();
    alter table parted attach partition part default;
    create trigger leaking before insert on divided for each row execute function leaking();
    create trigger leaking after update on heirs for each row execute function leaking();
    create trigger leaking after insert on viewed execute function leaking();
    create view shown as select id from viewed;

    create table target (id int);
    create table ruled (id int);
    create rule leaking as on insert to ruled do instead insert into target select leak() returning id;
    create table secured (id int);
    alter table secured enable row level security;

    create table by_default (id int, other int default leak());
    create table set_by_default (id int, other text default set_config('app.user', 'eve', false));
    create table locked_by_default (id int, other bool default pg_try_advisory_lock(5));
    create table generated (id int, other int generated always as (sly(id)) stored);
    create table checked (id int check (leak() is null));
    create table set_by_check (id int check (set_config('app.user', 'eve', false) <> ''));
    create table indexed (id int);
    create index on indexed (sly(id));
    create table indexed_in_part (id int);
    create index on indexed_in_part (id) where sly(id) > 0;
    create table operated (id int);
    create index on operated ((id === 1));
    create table excluding (id int, exclude (sly(id) with =));
    create table keyed (id int) partition by range (sly(id));
    create table key partition of keyed default;

    create domain leaky as int check (leak() is null);
    create domain setting as text check (set_config('app.user', 'eve', false) <> '');
    create domain preset as text default set_config('app.user', 'eve', false);
    create table of_leaky (id leaky);
    create table of_setting (id setting);
    create table of_settings (id setting[]);
    create table of_preset (id int, other preset);
";

/// Statements, and whether they are proven. None fails.
const WRITES: [(&str, bool); 47] = [
    ("insert into plain (text) values ('a') returning id", true),
    (
        "insert into leaders values (1) on conflict (id) do update set id = excluded.id returning *",
        true,
    ),
    (
        "update plain set text = 'c', at = now() where id = 1 returning id",
        true,
    ),
    ("delete from plain where id = 1 returning id", true),
    (
        "with twice as (select 2 * n as n from generate_series(3, 4) n) \
      insert into leaders select n from twice returning id",
        true,
    ),
    ("update leaders set id = 5 where id = 1 returning id", true),
    ("delete from leaders where id = 2 returning id", true),
    ("insert into pieces values (1) returning id", true),
    ("insert into piece values (1) returning id", true),
    ("insert into ranges values ('[1, 2)') returning id", true),
    ("insert into late values (1) returning id", true),
    ("select nextval('numbers')", true),
    ("insert into triggered values (1) returning id", false),
    ("update guarded set id = 2 returning id", false),
    ("delete from parents where id = 1 returning id", false),
    ("update givers set id = 2 where id = 1 returning id", false),
    ("delete from grandparents where id = 1 returning id", false),
    ("insert into parted values (1) returning id", false),
    ("insert into part values (1) returning id", false),
    ("insert into divided values (1) returning id", false),
    ("insert into division values (1) returning id", false),
    ("update ancestors set id = 2 returning id", false),
    ("insert into shown values (1) returning id", false),
    ("insert into ruled values (1) returning id", false),
    ("insert into secured values (1) returning id", false),
    ("insert into by_default values (1) returning id", false),
    ("insert into set_by_default values (1) returning id", false),
    (
        "insert into locked_by_default values (1) returning id",
        false,
    ),
    ("insert into generated values (1) returning id", false),
    ("insert into checked values (1) returning id", false),
    ("insert into set_by_check values (1) returning id", false),
    ("insert into indexed values (1) returning id", false),
    ("insert into indexed_in_part values (1) returning id", false),
    ("insert into operated values (1) returning id", false),
    ("insert into excluding values (1) returning id", false),
    ("insert into keyed values (1) returning id", false),
    ("insert into of_leaky values (1) returning id", false),
    ("insert into of_setting values ('a') returning id", false),
    ("insert into of_settings values ('{a}') returning id", false),
    ("insert into of_preset values (1) returning id", false),
    ("select 'a'::setting", false),
    ("select leak()", false),
    ("select set_config('app.user', 'eve', false)", false),
    ("select pg_advisory_lock(6)", false),
    ("select setval('numbers', 7)", false),
    (
        "insert into plain (text) select coalesce(leak()::text, 'a') returning id",
        false,
    ),
    (
        "insert into plain (text) values (set_config('app.user', 'eve', false)) returning id",
        false,
    ),
];

/// Proven like the plain writes: it does not undo what they leave.
const STATE: &str = "select nullif(current_setting('app.user', true), '') as app_user, \
    (select count(*) from pg_locks where locktype = 'advisory') as locks";

/// One connection, which every request has to use.
fn endpoints(writes: &[(&str, bool)]) -> String {
    let write = |(number, (sql, _)): (usize, &(&str, bool))| {
        format!("[[endpoint]]\nmethod = 'POST'\npath = '/write-{number}'\nsql = \"{sql}\"\n")
    };
    let writes: String = writes.iter().enumerate().map(write).collect();
    let state = "[[endpoint]]\nmethod = 'GET'\npath = '/state'\nsingle = true\nsql = ";
    format!("[pool]\nconnections_min = 1\nconnections_max = 1\n{writes}{state}\"{STATE}\"\n")
}

async fn write(world: &World, number: usize) -> StatusCode {
    let write = world.request(Method::POST, &format!("/write-{number}"));
    write.send().await.unwrap().status()
}

async fn left(world: &World) -> Value {
    let response = world.get_at("/state", "strong").await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

#[tokio::test]
async fn only_writes_that_can_leave_nothing_keep_their_session() {
    let world = World::with_file(SCHEMA, &endpoints(&WRITES)).await;
    let kept = 1 + WRITES.iter().filter(|(_, kept)| *kept).count();
    let reset = 1 + WRITES.len() - kept;
    for node in ["primary", "eu-west-1"] {
        for (session, expected) in [("kept", kept), ("reset", reset)] {
            let series = format!("tidegate_statements{{node=\"{node}\",session=\"{session}\"}}");
            let count = world.metric_turns(&series, |count| count > 0.0).await;
            assert!((count - expected as f64).abs() < 0.5, "{series}: {count}");
        }
    }
    let fresh = json!({ "app_user": null, "locks": 0 });
    for (number, (sql, _)) in WRITES.iter().enumerate() {
        assert_eq!(write(&world, number).await, StatusCode::OK, "{sql}");
        assert_eq!(left(&world).await, fresh, "{sql}");
    }
}

/// Neither the write before that is seen nor the reads after it reset their session.
#[tokio::test]
async fn what_a_new_trigger_leaves_is_undone_once_it_has_been_seen() {
    let writes = [("insert into plain (text) values ('a') returning id", true)];
    let world = World::with_file(SCHEMA, &endpoints(&writes)).await;
    world.proven("primary").await;
    let trigger =
        "create trigger leaking before insert on plain for each row execute function leaking()";
    world.cluster.primary.execute(trigger).await.unwrap();
    assert_eq!(write(&world, 0).await, StatusCode::OK);
    until("the session is reset", DEADLINE, async || {
        let left = left(&world).await;
        Ok(left["app_user"].is_null().then_some(()))
    })
    .await
    .unwrap();
}
