//! What a write runs without naming it: defaults, checks and indexes of its tables, of their partitions, and of
//! tables that foreign keys lead to.
//!
//! There is no proof about anything that users have defined: triggers, rules, functions, operators. Expressions
//! of the server's own functions are read like a statement, as `set_config` and `pg_advisory_lock` are among
//! them and the catalogue does not list who calls those.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Error};

use super::names::Names;

/// Follows the words `$1` that name tables: `word` and one of `unproven`, the `name` of a table that a write
/// may reach, and an `expression` that it may evaluate.
///
/// `edges` goes to partitions, and from a table to those whose rows a foreign key changes with its own. What is
/// `above` partitions says which rows they take, and nothing else: triggers are theirs, too. `parts` are the types
/// of columns, down to what domains and arrays are made of. `holders` are the objects that depend on the functions
/// and operators in their expressions. Internal triggers are known by their functions: those that a partition has
/// inherited count as internal in some versions. `pg_settings` has a rule that calls `set_config`. `nextval` is
/// allowed below, unless something else has the name.
const WRITTEN: &str = "with recursive \
    words(word) as (select distinct unnest($1::text[])), \
    edges(source, target) as ( \
        select inhparent, inhrelid from pg_inherits \
        union all select confrelid, conrelid from pg_constraint \
            where contype = 'f' and (confupdtype in ('c', 'n', 'd') or confdeltype in ('c', 'n', 'd'))), \
    reached(word, rel) as ( \
        select word, oid from words join pg_class on relname = word::name \
            where oid >= 16384 and relkind in ('r', 'p') \
        union select word, target from reached join edges on source = rel), \
    above(word, rel) as ( \
        select word, inhparent from reached join pg_inherits on inhrelid = rel \
        union select word, inhparent from above join pg_inherits on inhrelid = rel), \
    parts(word, type) as ( \
        select word, atttypid from reached join pg_attribute on attrelid = rel \
            where attnum > 0 and not attisdropped \
        union select word, case typtype when 'd' then typbasetype else typelem end \
            from parts join pg_type on oid = type where typtype = 'd' or typcategory = 'A' and typelem <> 0), \
    holders(word, class, object) as ( \
        select word, 'pg_class'::regclass, rel from reached \
        union select word, 'pg_class'::regclass, rel from above \
        union select word, 'pg_class'::regclass, indexrelid from reached join pg_index on indrelid = rel \
        union select word, 'pg_attrdef'::regclass, oid from reached join pg_attrdef on adrelid = rel \
        union select word, 'pg_constraint'::regclass, oid from reached join pg_constraint on conrelid = rel \
        union select word, 'pg_constraint'::regclass, oid from reached join pg_constraint on confrelid = rel \
        union select word, 'pg_type'::regclass, type from parts \
        union select word, 'pg_constraint'::regclass, oid from parts join pg_constraint on contypid = type) \
    select word, true, null, null from words join pg_proc on proname = word::name where oid >= 16384 \
    union select word, true, null, null from words join pg_type on typname = word::name where word = 'nextval' \
    union select word, true, null, null from words join pg_class c on relname = word::name \
        where oid < 16384 and (relnamespace = 'pg_catalog'::regnamespace \
            or exists (select from pg_rewrite where ev_class = c.oid and ev_type <> '1')) \
    union select word, true, null, null from reached join pg_class c on c.oid = rel \
        where relkind not in ('r', 'p') or relrowsecurity \
            or exists (select from pg_rewrite where ev_class = c.oid) \
    union select word, true, null, null from reached join pg_trigger on tgrelid = rel \
        join pg_proc f on f.oid = tgfoid where tgfoid >= 16384 or tgqual is not null \
            or f.proname !~ '^(RI_FKey_|unique_key_recheck$)' \
    union select word, true, null, null from holders join pg_depend on classid = class and objid = object \
        where refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass, \
            'pg_opfamily'::regclass, 'pg_am'::regclass) \
    union select word, false, relname::text, null from reached join pg_class c on c.oid = rel \
    union select word, false, null, pg_get_expr(adbin, adrelid) from reached join pg_attrdef on adrelid = rel \
    union select word, false, null, pg_get_constraintdef(oid) from reached \
        join pg_constraint on conrelid = rel where contype = 'c' \
    union select word, false, null, pg_get_constraintdef(oid) from parts join pg_constraint on contypid = type \
    union select word, false, null, pg_get_expr(typdefaultbin, 0) from parts join pg_type on oid = type \
        where typdefaultbin is not null";

/// The server's function that leaves something which is cheap to undo: the last value of a sequence.
const OF_SEQUENCES: &str = "nextval";

/// What writes to tables run, by the words that may name the tables.
#[derive(Default)]
pub(super) struct Written {
    /// Words of which nothing is proven.
    unproven: BTreeSet<String>,
    /// The names of the tables that are reached, and those in expressions.
    reached: BTreeMap<String, Names>,
}

impl Written {
    /// Looks up the words of writes.
    pub(super) async fn of(client: &Client, words: &BTreeSet<String>) -> Result<Self, Error> {
        let words: Vec<_> = words.iter().collect();
        let mut written = Self::default();
        for row in client.query(WRITTEN, &[&words]).await? {
            let word: String = row.try_get(0)?;
            if row.try_get(1)? {
                written.unproven.insert(word);
                continue;
            }
            let reached = written.reached.entry(word).or_default();
            reached.words.extend(row.try_get::<_, Option<String>>(2)?);
            if let Some(expression) = row.try_get(3)? {
                reached.add(Names::of(expression));
            }
        }
        Ok(written)
    }

    /// Everything that a write names and reaches, other than `nextval`; `None` if nothing is proven about some
    /// of it.
    pub(super) fn by(&self, mut names: Names) -> Option<Names> {
        if !names.words.is_disjoint(&self.unproven) {
            return None;
        }
        let reached = names.words.iter().filter_map(|word| self.reached.get(word));
        for reached in reached.cloned().collect::<Vec<_>>() {
            names.add(reached);
        }
        names.words.remove(OF_SEQUENCES);
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_read_with_what_its_tables_run() {
        let mut written = Written::default();
        written.unproven.insert("ruled".to_owned());
        let reached = Names::of("set_config('a.b', n <-> 1, false)");
        written.reached.insert("marks".to_owned(), reached);
        let by = |text| written.by(Names::of(text));
        let names = by("insert into marks values (nextval('numbers'))").unwrap();
        assert!(names.words.contains("set_config") && names.words.contains("insert"));
        assert!(names.may_use("<->") && !names.words.contains("nextval"));
        assert!(by("insert into others select * from ruled").is_none());
        assert!(
            !by("insert into others values (1)")
                .unwrap()
                .words
                .contains("set_config")
        );
    }
}
