//! The text written for a catalogue; no database.

use super::catalogue::{Catalogue, Column, Table};
use super::configuration::configuration;
use crate::endpoint::Routes;
use crate::endpoint::{RouteTables, TargetConfig};

fn column(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        quoted: name.to_owned(),
        may_select: true,
        may_insert: true,
        ..Column::default()
    }
}

fn key(name: &str, place: i32) -> Column {
    Column {
        key_place: Some(place),
        not_null: true,
        ..column(name)
    }
}

fn table(name: &str, columns: impl Into<Vec<Column>>) -> Table {
    Table {
        name: name.to_owned(),
        quoted: name.to_owned(),
        columns: columns.into(),
        ..Table::default()
    }
}

fn found(tables: impl Into<Vec<Table>>) -> Catalogue {
    Catalogue {
        role: "app".to_owned(),
        sees_replicas: true,
        connections_max: "100".to_owned(),
        tables: tables.into(),
        ..Catalogue::default()
    }
}

/// The text that is written, and the method, path and statement of every endpoint in it.
fn written(found: &Catalogue) -> (String, Vec<String>) {
    let text = configuration("postgresql://app@db:5432/app", found);
    let tables = RouteTables::of_text("init", &text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    Routes::compile(&tables).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let endpoints = tables.endpoints.iter().map(|endpoint| {
        let TargetConfig::Sql(sql) = &endpoint.target else {
            panic!("no statement")
        };
        let strings = sql.body_strings.join(" ");
        let text = format!(
            "{} {} {} {strings}",
            endpoint.method, endpoint.path, sql.statement
        );
        text.trim_end().to_owned()
    });
    let endpoints = endpoints.collect();
    (text, endpoints)
}

#[test]
fn a_table_gets_an_endpoint_that_reads_a_row_and_one_that_adds_one() {
    let id = Column {
        has_default: true,
        ..key("id", 1)
    };
    let text = Column {
        is_text: true,
        ..column("text")
    };
    let (_, endpoints) = written(&found([table("notes", [id, text, column("stars")])]));
    assert_eq!(
        endpoints,
        [
            "GET /notes/{id} select id, text, stars from notes where id = :path.id",
            "POST /notes insert into notes (text, stars) values (:body.text, :body.stars) \
             returning id, text, stars text",
        ]
    );
}

#[test]
fn a_key_of_several_columns_is_a_path_of_several_segments_in_the_order_of_the_key() {
    let (_, endpoints) = written(&found([table("seats", [key("seat", 2), key("hall", 1)])]));
    let expected = "GET /seats/{hall}/{seat} select seat, hall from seats \
                    where hall = :path.hall and seat = :path.seat";
    assert_eq!(endpoints[0], expected);
}

#[test]
fn what_the_role_may_not_do_is_not_written() {
    let secret = Column {
        may_select: false,
        may_insert: false,
        ..column("secret")
    };
    let (_, endpoints) = written(&found([table("a", [key("id", 1), secret.clone()])]));
    assert_eq!(
        endpoints[0],
        "GET /a/{id} select id from a where id = :path.id"
    );
    assert_eq!(
        endpoints[1],
        "POST /a insert into a (id) values (:body.id) returning id"
    );
    let required = Column {
        not_null: true,
        ..secret
    };
    let (text, endpoints) = written(&found([table("a", [key("id", 1), required])]));
    assert_eq!(endpoints.len(), 1);
    assert!(
        text.contains("# No POST: secret is required and may not be inserted"),
        "{text}"
    );
}

#[test]
fn a_name_that_needs_quotes_stays_quoted_in_sql_and_never_ends_a_comment_or_a_string() {
    let odd = "x\"\n[[endpoint]]'''";
    let quoted = "\"x\"\"\n[[endpoint]]'''\"";
    let column = Column {
        quoted: quoted.to_owned(),
        ..column(odd)
    };
    let mut notes = table("notes", [key("id", 1), column]);
    let (_, endpoints) = written(&found([notes]));
    assert_eq!(
        endpoints[0],
        format!("GET /notes/{{id}} select id, {quoted} from notes where id = :path.id")
    );
    assert!(endpoints[1].starts_with("POST /notes insert into notes (id) "));
    notes = table(odd, [key("id", 1)]);
    notes.quoted = quoted.to_owned();
    let mut catalogue = found([notes]);
    catalogue.role = odd.to_owned();
    catalogue.replicas = vec![(odd.to_owned(), odd.to_owned())];
    let (text, endpoints) = written(&catalogue);
    assert!(
        endpoints.is_empty() && text.contains("needs quoting"),
        "{text}"
    );
}

#[test]
fn without_a_table_nothing_is_served() {
    let (text, endpoints) = written(&found([table("log", [column("line")])]));
    assert!(endpoints.is_empty());
    assert!(text.contains("#   log: it has no primary key\n"), "{text}");
    assert!(text.contains("The role app may read no table"), "{text}");
}

#[test]
fn what_the_catalogue_cannot_tell_is_marked() {
    let mut catalogue = found([]);
    catalogue.replicas = vec![("10.0.0.7".to_owned(), "eu".to_owned())];
    let (text, _) = written(&catalogue);
    assert!(
        text.contains("Not known: the region of the primary"),
        "{text}"
    );
    assert!(
        text.contains("A replica streams to 10.0.0.7 (eu). Not known: its region"),
        "{text}"
    );
    catalogue.sees_replicas = false;
    let (text, _) = written(&catalogue);
    assert!(!text.contains("10.0.0.7"), "{text}");
    assert!(text.contains("grant pg_read_all_stats to app"), "{text}");
}

#[test]
fn more_tables_than_can_be_read_are_named_without_endpoints() {
    let tables: Vec<_> = (0..51)
        .map(|number| table(&format!("t{number}"), [key("id", 1)]))
        .collect();
    let (text, endpoints) = written(&found(tables));
    assert_eq!(endpoints.len(), 100);
    assert!(text.contains("#   t50: one table too many\n"), "{text}");
}
