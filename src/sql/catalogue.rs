//! What a node's catalogue implies for statements: whether it has changed since they were prepared,
//! and which of them can leave something in a session.
//!
//! A statement leaves nothing if everything that it names is harmless: the server's own functions
//! that are not volatile (or are in [`HARMLESS`]), tables without row-level policies, types without
//! user-defined functions. A user-defined function in SQL or PL/pgSQL is read like a statement;
//! views and other functions are not analysed: the session is reset after such a statement. A write
//! must also [run nothing else](super::written) that may leave something; it may advance sequences.
//! Volatility counts as proof only for the server's own functions.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use super::SqlTarget;
use super::names::Names;
use super::written::Written;

/// Changes when anything changes that the types of parameters or the proofs below depend on.
/// Statistics, sizes and the contents of tables are left out, as are temporary objects.
const FINGERPRINT: &str = "select coalesce(sum(hashtextextended(fact, 0)), 0)::text from ( \
    select 'class' || (oid, relname, relnamespace, relkind, relam, relrowsecurity, relforcerowsecurity)::text \
        from pg_class where oid >= 16384 and relpersistence <> 't' and relkind <> 't' \
    union all select 'attribute' || (attrelid, attname, atttypid, atttypmod, attisdropped)::text \
        from pg_attribute a join pg_class c on c.oid = attrelid \
        where attrelid >= 16384 and attnum > 0 and relpersistence <> 't' and relkind <> 't' \
    union all select 'type' || (t.oid, t.xmin)::text from pg_type t join pg_namespace n on n.oid = typnamespace \
        where t.oid >= 16384 and typrelid = 0 and nspname !~ '^pg_(toast_)?temp_' \
    union all select 'enum' || (oid, enumtypid, enumlabel, xmin)::text from pg_enum \
    union all select 'proc' || (oid, xmin)::text from pg_proc where oid >= 16384 \
    union all select 'operator' || (oid, xmin)::text from pg_operator where oid >= 16384 \
    union all select 'cast' || (oid, xmin)::text from pg_cast where oid >= 16384 \
    union all select 'policy' || (oid, xmin)::text from pg_policy \
    union all select 'rule' || (oid, xmin)::text from pg_rewrite where oid >= 16384 \
    union all select 'index' || (indexrelid, indexprs is null, indpred is null)::text from pg_index \
        where indexrelid >= 16384 and (indexprs is not null or indpred is not null \
            or exists (select from unnest(indclass::oid[]) class where class >= 16384)) \
    union all select 'constraint' || (o.oid, o.xmin)::text from pg_constraint o left join pg_class c on c.oid = conrelid \
        where o.oid >= 16384 and relpersistence is distinct from 't' \
    union all select 'default' || (d.oid, d.xmin)::text from pg_attrdef d join pg_class c on c.oid = adrelid \
        where d.oid >= 16384 and relpersistence <> 't' \
    union all select 'trigger' || (t.oid, t.xmin)::text from pg_trigger t join pg_class c on c.oid = tgrelid \
        where t.oid >= 16384 and relpersistence <> 't' \
    union all select 'inherits' || (inhrelid, inhparent)::text from pg_inherits join pg_class c on c.oid = inhrelid \
        where relpersistence <> 't' \
    union all select 'schema' || (oid, nspname)::text from pg_namespace \
        where oid >= 16384 and nspname !~ '^pg_(toast_)?temp_' \
    ) catalogue(fact)";

/// The server's functions that are volatile only because their results differ: they change nothing.
/// The seed of `random` is reset after statements that can set it.
const HARMLESS: [&str; 28] = [
    "clock_timestamp",
    "current_query",
    "gen_random_uuid",
    "pg_blocking_pids",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_database_size",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_lock_status",
    "pg_relation_size",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_xact_commit_timestamp",
    "pg_xact_status",
    "random",
    "random_normal",
    "timeofday",
    "txid_status",
];

/// Commands by which the text of a user-defined function can leave something in a session, or hide
/// what it calls.
const STATEFUL: [&str; 19] = [
    "alter",
    "call",
    "copy",
    "create",
    "deallocate",
    "discard",
    "do",
    "drop",
    "execute",
    "hold",
    "listen",
    "load",
    "lock",
    "notify",
    "prepare",
    "reset",
    "set",
    "temp",
    "temporary",
];

/// How deep user-defined functions may call each other.
const DEPTH_MAX: usize = 8;

/// Finds which of the words `$1` name something that may leave something in a session, which
/// operators may, and the texts of functions that must be read as well: `word`, `operator`, or
/// `function` and `body`, with `null` in the other columns. `$2` are the harmless functions. The checks of
/// domains count as texts of what has or contains a domain: they may call any of the server's functions.
///
/// `steps` goes from each user-defined type to its parts. A type is plain if all of them are
/// enumerations and the server's types without a cast function, and no check of a domain calls a
/// user-defined function: neither reading nor printing a value of it runs user-defined code.
const UNPROVEN: &str = "with recursive \
    steps(type, part) as ( \
        select oid, oid from pg_type where oid >= 16384 \
        union select type, case t.typtype when 'd' then typbasetype else typelem end \
            from steps join pg_type t on t.oid = part \
            where t.typtype = 'd' or t.typcategory = 'A' and typelem <> 0), \
    uncertain(type) as ( \
        select distinct type from steps join pg_type t on t.oid = part \
            where part >= 16384 and not (t.typtype in ('e', 'd') or t.typcategory = 'A' and typelem <> 0) \
        union select type from steps join pg_cast on castsource = part where castfunc >= 16384 \
        union select type from steps join pg_constraint c on contypid = part \
            join pg_depend d on d.classid = 'pg_constraint'::regclass and d.objid = c.oid \
            where d.refclassid = 'pg_proc'::regclass), \
    reachable(type) as ( \
        select oid from pg_type where oid not in (select type from uncertain) \
        union select casttarget from pg_cast where castcontext = 'i' \
            and castsource not in (select type from uncertain)), \
    words(word) as (select distinct unnest($1::text[])), \
    functions as (select p.*, p.oid >= 16384 and prokind = 'f' and prosrc <> '' and pronargdefaults = 0 \
            and prolang in (select l.oid from pg_language l where lanname in ('sql', 'plpgsql')) \
            and not exists (select from unnest(proargtypes::oid[] || prorettype || proallargtypes) it \
                where it in (select type from uncertain)) as is_text \
        from words join pg_proc p on proname = word::name), \
    domains(word, domain) as ( \
        select word, part from words join pg_type t on typname = word::name join steps on type = t.oid \
        union select word, part from words join pg_class c on relname = word::name \
            join pg_attribute on attrelid = c.oid and attnum > 0 join steps on type = atttypid) \
    select proname::text, null, null, null from functions \
        where oid >= 16384 and not is_text or oid < 16384 and (provolatile = 'v' and proname <> all ($2::text[]) \
        or proargtypes::oid[] && array['internal'::regtype, 'cstring'::regtype]::oid[] \
        or proname ~ '_to_xml(schema|_and_xmlschema)?$' or proname like 'pg_input_%') \
    union select null, null, proname::text, prosrc from functions where is_text \
    union select null, null, word, pg_get_constraintdef(oid) from domains join pg_constraint on contypid = domain \
    union select word, null, null, null from words join pg_type on typname = word::name \
        where oid in (select type from uncertain) and typrelid not in \
            (select oid from pg_class where relkind in ('r', 'p', 'm', 'v')) \
    union select word, null, null, null from words join pg_class c on relname = word::name where oid >= 16384 and ( \
        relkind not in ('r', 'p', 'm', 'S', 'i', 'I') or relrowsecurity \
        or exists (select from pg_cast where castsource = reltype and castfunc >= 16384) \
        or exists (select from pg_operator o where o.oid >= 16384 and reltype in (oprleft, oprright)) \
        or exists (select from pg_attribute where attrelid = c.oid and not attisdropped \
            and atttypid in (select type from uncertain)) \
        or exists (select from pg_index join pg_depend d on d.classid = 'pg_class'::regclass \
            and d.objid = indexrelid and d.refclassid = 'pg_proc'::regclass where indrelid = c.oid)) \
    union select null, oprname, null, null from pg_operator o where oid >= 16384 \
        and not exists (select from unnest(array[oprleft, oprright]) it where it <> 0 \
            and it in (select type from uncertain) and (it not in (select type from reachable) \
                or exists (select from pg_operator own where own.oid < 16384 and own.oprname = o.oprname))) \
    union select null, '', null, null from pg_cast where castfunc >= 16384 \
        and castsource not in (select type from uncertain) and casttarget not in (select type from uncertain)";

/// Reads the fingerprint of the catalogue.
///
/// # Errors
/// If the server does not answer, or refuses.
pub(crate) async fn fingerprint(client: &Client) -> Result<String, Error> {
    client.query_one(FINGERPRINT, &[]).await?.try_get(0)
}

/// Finds those of some statements that leave nothing in a session; of writes those that leave nothing but values
/// of sequences.
///
/// # Errors
/// If the server does not answer, or refuses.
pub(crate) async fn stateless<'a>(
    client: &Client,
    statements: impl Iterator<Item = &'a SqlTarget>,
) -> Result<Vec<&'a SqlTarget>, Error> {
    let named: Vec<_> = statements
        .map(|sql| (sql, Names::of(sql.statement.text())))
        .collect();
    let writes = named.iter().filter(|(sql, _)| !sql.is_read);
    let words = writes.flat_map(|(_, names)| names.words.clone());
    let written = Written::of(client, &words.collect()).await?;
    let named = named
        .into_iter()
        .filter_map(|(sql, names)| match sql.is_read {
            true => Some((sql, names)),
            false => Some((sql, written.by(names)?)),
        });
    let named: Vec<_> = named.collect();
    let words = named.iter().flat_map(|(_, names)| names.words.clone());
    let found = Found::of_all(client, words.collect()).await?;
    let stateless = named
        .iter()
        .filter(|(_, names)| found.leaves_nothing(names));
    Ok(stateless.map(|(sql, _)| *sql).collect())
}

/// The catalogue's information about some words.
#[derive(Default)]
struct Found {
    /// Words that name something that may leave something in a session.
    unproven: BTreeSet<String>,
    /// Operators that may.
    operators: Vec<String>,
    /// The names in the texts of functions and of checks, by the names of what has them.
    functions: BTreeMap<String, Vec<Names>>,
}

impl Found {
    /// Looks up words, and those in the texts of the functions that they name.
    async fn of_all(client: &Client, mut words: BTreeSet<String>) -> Result<Self, Error> {
        let mut found = Self::default();
        for _ in 0..DEPTH_MAX {
            found = Self::of(client, &words).await?;
            let known = words.len();
            let texts = found.functions.values().flatten();
            words.extend(texts.flat_map(|names| names.words.clone()));
            if words.len() == known {
                return Ok(found.settled());
            }
        }
        // Nothing is proven about functions that are nested more deeply.
        found.unproven.extend(found.functions.keys().cloned());
        Ok(found)
    }

    async fn of(client: &Client, words: &BTreeSet<String>) -> Result<Self, Error> {
        let words: Vec<_> = words.iter().collect();
        let parameters: &[&(dyn ToSql + Sync)] = &[&words, &HARMLESS.as_slice()];
        let rows = client.query(UNPROVEN, parameters).await?;
        let mut found = Self::default();
        for row in rows {
            found.unproven.extend(row.try_get::<_, Option<String>>(0)?);
            found.operators.extend(row.try_get::<_, Option<String>>(1)?);
            if let (Some(name), Some(body)) = (row.try_get(2)?, row.try_get(3)?) {
                let bodies: &mut Vec<_> = found.functions.entry(name).or_default();
                bodies.push(Names::of(body));
            }
        }
        Ok(found)
    }

    /// Marks as unproven the functions whose text may leave something, and those that call them.
    fn settled(mut self) -> Self {
        loop {
            let leaves_something = |names: &Names| {
                let stateful = STATEFUL.iter().any(|word| names.words.contains(*word));
                stateful || !self.leaves_nothing(names)
            };
            let functions = self.functions.iter();
            let functions = functions.filter(|(name, texts)| {
                !self.unproven.contains(*name) && texts.iter().any(leaves_something)
            });
            let more: Vec<_> = functions.map(|(name, _)| name.clone()).collect();
            if more.is_empty() {
                return self;
            }
            self.unproven.extend(more);
        }
    }

    fn leaves_nothing(&self, names: &Names) -> bool {
        !names.has_escapes
            && names.words.is_disjoint(&self.unproven)
            && !self
                .operators
                .iter()
                .any(|operator| names.may_use(operator))
    }
}
