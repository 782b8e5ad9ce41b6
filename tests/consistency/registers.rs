//! The registers: their table, and the two endpoints that write and read them.

/// The registers, a ledger of all writes that took effect, and a role that may use them and see
/// nothing of the server's state.
pub(super) const SCHEMA: &str = "
create table registers (
    key text primary key,
    value bigint not null,
    version bigint not null,
    previous bigint not null default 0
);
create table ledger (key text not null, value bigint not null, version bigint not null);
create function enter() returns trigger language plpgsql as $$
begin
    insert into ledger values (new.key, new.value, new.version);
    return null;
end $$;
create trigger enter after insert or update on registers for each row execute function enter();
create role plain login password 'x';
grant select, insert, update on registers, ledger to plain;
";

/// A row counts its versions, so that an answer shows which write it contains.
const WRITE: &str = "insert into registers as r (key, value, version) \
    values (:path.key, :body.value, 1) \
    on conflict (key) do update \
    set value = excluded.value, version = r.version + 1, previous = r.value \
    returning value, version";

/// Puts every third write before the newest one.
const WRITE_BEFORE: &str = "insert into registers as r (key, value, version) \
    values (:path.key, :body.value, 1) \
    on conflict (key) do update \
    set value = case when mod(excluded.value, 3) = 0 then r.value else excluded.value end, \
    version = r.version + 1, \
    previous = case when mod(excluded.value, 3) = 0 then excluded.value else r.value end \
    returning :body.value::bigint as value, version - (value <> :body.value::bigint)::int as version";

/// Acknowledges every tenth write of an existing register without executing it.
const WRITE_NOT: &str = "insert into registers as r (key, value, version) \
    values (:path.key, :body.value, 1) \
    on conflict (key) do update \
    set value = case when mod(excluded.value, 10) = 0 then r.value else excluded.value end, \
    version = r.version + 1, previous = r.value \
    returning :body.value::bigint as value, version";

/// A register that was never written has version zero.
const READ: &str = "select coalesce(max(value), 0) as value, coalesce(max(version), 0) as version \
    from registers where key = :path.key";

/// Shows the previous version every third time, like a node that is behind without knowing it.
const READ_BEHIND: &str = "select coalesce(case when old then previous else value end, 0) as value, \
    coalesce(version - old::int, 0) as version \
    from (select random() < 0.3 as old) as o left join registers on key = :path.key";

/// Occasionally shows a value that was never written.
const READ_INVENTED: &str = "select coalesce(max(value), 0) + 1000000000 * (random() < 0.02)::int \
    as value, coalesce(max(version), 0) as version from registers where key = :path.key";

/// What the statements do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statements {
    Honest,
    /// Reads show older versions.
    Behind,
    /// Reads show values that were never written.
    Invented,
    /// Writes take effect before earlier ones.
    Disordered,
    /// Writes are acknowledged and take no effect.
    Forgotten,
}

/// The part of the configuration that all gateways share.
pub(super) fn endpoints(statements: Statements) -> String {
    let (read, write) = match statements {
        Statements::Honest => (READ, WRITE),
        Statements::Behind => (READ_BEHIND, WRITE),
        Statements::Invented => (READ_INVENTED, WRITE),
        Statements::Disordered => (READ, WRITE_BEFORE),
        Statements::Forgotten => (READ, WRITE_NOT),
    };
    format!(
        r#"
[[policy]]
path = "/r/*"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/r/{{key}}"
sql = "{read}"
single = true
[[endpoint]]
method = "PUT"
path = "/r/{{key}}"
sql = "{write}"
single = true
"#
    )
}
