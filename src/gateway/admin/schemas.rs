//! `GET /admin/schemas`: what the answers of the admin listener look like, as JSON Schema 2020-12.

use std::collections::BTreeMap;

use axum::Json;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::closed_sets::problem_types;
use super::purge::Purged;
use super::regions::{HealthRecord, PolicyEntry};
use super::requests::RequestEntry;
use super::topology::{NodeEntry, Topology};
use super::upstreams::UpstreamNodeEntry;
use crate::peers::FleetRegionView;

/// Stands for every path, where it answers with a problem.
const OTHERWISE: &str = "/admin/*";

/// Answers with the schema of every successful answer, by the template of its path, and that of problems.
pub(super) async fn schemas() -> Json<BTreeMap<&'static str, Value>> {
    let schemas = [
        ("/admin/topology", of::<Topology>()),
        ("/admin/regions", of::<Vec<HealthRecord>>()),
        // Where `Accept` asks for JSON; else the text of the policy.
        ("/admin/traffic-policy", of::<PolicyEntry>()),
        ("/admin/requests/{id}", of::<RequestEntry>()),
        ("/admin/nodes/{node}/drain", of::<NodeEntry>()),
        ("/admin/nodes/{node}/undrain", of::<NodeEntry>()),
        (
            "/admin/upstreams/{upstream}/nodes/{node}/drain",
            of::<UpstreamNodeEntry>(),
        ),
        (
            "/admin/upstreams/{upstream}/nodes/{node}/undrain",
            of::<UpstreamNodeEntry>(),
        ),
        ("/admin/regions/{region}/drain", of::<FleetRegionView>()),
        ("/admin/regions/{region}/undrain", of::<FleetRegionView>()),
        ("/admin/cache/purge", of::<Purged>()),
        ("/admin/events", of_events()),
        ("/admin/schemas", of_schemas()),
        (OTHERWISE, of_problems()),
    ];
    Json(BTreeMap::from(schemas))
}

/// The schema of a type, as it is written.
fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    close(&mut schema);
    schema
}

/// Says of all objects in a schema that they have no other members.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn of_events() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "The data of one event: the state as the page shows it.",
        "type": "string",
        "contentMediaType": "text/html",
    })
}

fn of_problems() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "Why there is no other answer, with a status of 400 or above (RFC 9457).",
        "type": "object",
        "properties": {
            "type": {"description": "A page that explains it.", "enum": problem_types()},
            "title": {"description": "The type in words.", "type": "string"},
            "status": {"description": "The status of the answer.", "type": "integer"},
            "detail": {"description": "What is wrong with this request.", "type": "string"},
            "request_id": {"description": "The id of the request.", "type": "string"},
        },
        "required": ["type", "title", "status", "detail", "request_id"],
        "additionalProperties": false,
    })
}

fn of_schemas() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "The schema of every answer, by the template of its path.",
        "type": "object",
        "additionalProperties": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_path_of_the_admin_listener_has_a_schema_that_describes_and_requires_all_members()
    {
        let Json(schemas) = schemas().await;
        let sources = [include_str!("mod.rs"), include_str!("../dashboard/mod.rs")];
        let paths: Vec<_> = sources
            .iter()
            .flat_map(|source| source.split('"'))
            .filter(|text| text.starts_with("/admin/"))
            .collect();
        assert_eq!(paths.len() + 1, schemas.len());
        for path in paths {
            let schema = schemas.get(path).unwrap_or_else(|| panic!("{path}"));
            described(path, schema);
        }
        let topology = &schemas["/admin/topology"]["$defs"]["NodeEntry"];
        assert_eq!(topology["additionalProperties"], false);
        assert!(topology["properties"]["condition"]["enum"].is_array());
        let required = topology["required"].as_array().unwrap();
        let members = topology["properties"].as_object().unwrap();
        assert_eq!(required.len(), members.len(), "{topology}");
    }

    fn described(path: &str, schema: &Value) {
        match schema {
            Value::Object(members) => {
                if let Some(properties) = members.get("properties") {
                    for (name, property) in properties.as_object().unwrap() {
                        assert!(property["description"].is_string(), "{path}: {name}");
                    }
                }
                members.values().for_each(|it| described(path, it));
            }
            Value::Array(items) => items.iter().for_each(|it| described(path, it)),
            _ => {}
        }
    }
}
