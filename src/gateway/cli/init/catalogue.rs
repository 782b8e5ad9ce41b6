//! The contents of a database's catalogue: the tables that the role may use, and the replicas.

use tokio_postgres::{Client, Error, Row};

/// Most columns that are read, over all tables.
const COLUMNS_MAX: usize = 10_000;

/// Most replicas that are listed; a server has ten by default.
const REPLICAS_MAX: usize = 32;

const SERVER: &str = "\
    select pg_is_in_recovery(), current_user::text, pg_has_role(current_user, 'pg_read_all_stats', 'usage'), \
           current_setting('max_connections')";

/// Permanent tables that are neither PostgreSQL's own, an extension's, nor a partition.
const COLUMNS: &str = "\
    select n.nspname::text, c.relname::text, quote_ident(n.nspname), quote_ident(c.relname), \
           n.nspname = current_schema(), a.attname::text, quote_ident(a.attname), t.typcategory = 'S', \
           array_position(i.indkey::int2[], a.attnum), \
           a.atthasdef or a.attidentity <> '' or a.attgenerated <> '', a.attnotnull, \
           has_column_privilege(c.oid, a.attnum, 'select'), has_column_privilege(c.oid, a.attnum, 'insert') \
    from pg_class c \
    join pg_namespace n on n.oid = c.relnamespace \
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
    join pg_type t on t.oid = a.atttypid \
    left join pg_index i on i.indrelid = c.oid and i.indisprimary \
    where c.relkind in ('r', 'p') and c.relpersistence = 'p' and not c.relispartition \
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
      and has_schema_privilege(n.oid, 'usage') \
      and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid \
                                                and d.deptype = 'e') \
    order by n.nspname, c.relname, a.attnum \
    limit $1";

const REPLICAS: &str = "\
    select coalesce(client_addr::text, client_hostname, 'an unknown address'), \
           coalesce(application_name, '') \
    from pg_stat_replication where state is distinct from 'backup' order by 1 limit $1";

/// The relevant part of a catalogue.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// Whether the server follows another one.
    pub(super) is_replica: bool,
    /// The role of the connection.
    pub(super) role: String,
    /// Whether the role may see what other sessions do.
    pub(super) sees_replicas: bool,
    /// The server's `max_connections`.
    pub(super) connections_max: String,
    /// The address and the application name of every replica that streams.
    pub(super) replicas: Vec<(String, String)>,
    /// The tables that the role may read, at least in part.
    pub(super) tables: Vec<Table>,
}

/// One table.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Table {
    /// Its schema, unless that is the role's own first one.
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// Quoted as SQL requires.
    pub(super) quoted: String,
    /// Its columns, in the order of the table.
    pub(super) columns: Vec<Column>,
}

/// One column of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Quoted as SQL requires.
    pub(super) quoted: String,
    /// Whether it holds text.
    pub(super) is_text: bool,
    /// Its place in the primary key.
    pub(super) key_place: Option<i32>,
    /// Whether PostgreSQL gives it a value when none is inserted.
    pub(super) has_default: bool,
    pub(super) not_null: bool,
    pub(super) may_select: bool,
    pub(super) may_insert: bool,
}

impl Catalogue {
    /// Queries the server.
    pub(super) async fn read(client: &Client) -> Result<Self, Error> {
        let limit = |most: usize| most as i64;
        let server = client.query_one(SERVER, &[]).await?;
        let columns = client.query(COLUMNS, &[&limit(COLUMNS_MAX)]).await?;
        let replicas = client.query(REPLICAS, &[&limit(REPLICAS_MAX)]).await?;
        let replica = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        Ok(Self {
            is_replica: server.try_get(0)?,
            role: server.try_get(1)?,
            sees_replicas: server.try_get(2)?,
            connections_max: server.try_get(3)?,
            replicas: replicas.iter().map(replica).collect::<Result<_, Error>>()?,
            tables: tables(&columns)?,
        })
    }
}

/// Groups the columns by table; those of one table are adjacent.
fn tables(rows: &[Row]) -> Result<Vec<Table>, Error> {
    let mut tables: Vec<Table> = Vec::new();
    for row in rows {
        let (schema, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let is_own: Option<bool> = row.try_get(4)?;
        let schema = (is_own != Some(true)).then_some(schema);
        let is_next = |table: &Table| (&table.schema, &table.name) != (&schema, &name);
        if tables.last().is_none_or(is_next) {
            let (quoted_schema, quoted): (String, String) = (row.try_get(2)?, row.try_get(3)?);
            let quoted = match schema {
                Some(_) => format!("{quoted_schema}.{quoted}"),
                None => quoted,
            };
            tables.push(Table {
                schema,
                name,
                quoted,
                columns: Vec::new(),
            });
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push(column(row)?);
        }
    }
    tables.retain(|table| table.columns.iter().any(|column| column.may_select));
    Ok(tables)
}

fn column(row: &Row) -> Result<Column, Error> {
    Ok(Column {
        name: row.try_get(5)?,
        quoted: row.try_get(6)?,
        is_text: row.try_get(7)?,
        key_place: row.try_get(8)?,
        has_default: row.try_get(9)?,
        not_null: row.try_get(10)?,
        may_select: row.try_get(11)?,
        may_insert: row.try_get(12)?,
    })
}
