//! The registers: their table, and the two endpoints that write and read them.

/// The table, and a role that may use it and see nothing of the server's state.
pub(super) const SCHEMA: &str = "
create table registers (
    key text primary key,
    value bigint not null,
    version bigint not null,
    previous bigint not null default 0
);
create role plain login password 'x';
grant select, insert, update on registers to plain;
";

/// A row counts its versions, so that an answer tells which write it shows.
const WRITE: &str = "insert into registers as r (key, value, version) \
    values (:path.key, :body.value, 1) \
    on conflict (key) do update \
    set value = excluded.value, version = r.version + 1, previous = r.value \
    returning value, version";

/// A register that nobody has written is version zero.
const READ: &str = "select coalesce(max(value), 0) as value, coalesce(max(version), 0) as version \
    from registers where key = :path.key";

/// Shows the version before every third time: what a node would show that is behind and does not
/// know it.
const READ_BEHIND: &str = "select coalesce(case when old then previous else value end, 0) as value, \
    coalesce(version - old::int, 0) as version \
    from (select random() < 0.3 as old) as o left join registers on key = :path.key";

/// What the statements do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statements {
    Honest,
    /// Reads show less than there is.
    Behind,
}

/// The part of the configuration that all gateways share.
pub(super) fn endpoints(statements: Statements) -> String {
    let read = match statements {
        Statements::Honest => READ,
        Statements::Behind => READ_BEHIND,
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
sql = "{WRITE}"
single = true
"#
    )
}
