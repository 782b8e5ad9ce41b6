//! The answers of the admin listener are as their schemas say.

use std::process::Stdio;

use http::Method;
use serde_json::{Value, json};
use tidegate::testkit::GatewayProcess;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::handing_on::FleetScene;
use crate::world::{World, client, tool};

/// Validates pairs of a schema and an answer.
const VALIDATE: &str = "\
import json, sys
from jsonschema import Draft202012Validator
for path, schema, answer in json.load(sys.stdin):
    Draft202012Validator.check_schema(schema)
    for error in Draft202012Validator(schema).iter_errors(answer):
        print(path, error.json_path, error.message)
";

const REQUEST: &str = "/admin/requests/{id}";

/// Asks for the answers of a gateway, and pairs each with the schema of its path.
async fn answers(gateway: &GatewayProcess, paths: &[(Method, &str, &str)]) -> Vec<Value> {
    let ask = async |method: &Method, path: &str| {
        let request = client().request(method.clone(), gateway.admin_url(path));
        let answer = request.header("accept", "application/json").send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json::<Value>().await.unwrap()
    };
    let schemas = ask(&Method::GET, "/admin/schemas").await;
    let mut pairs = Vec::new();
    for (method, template, path) in paths {
        let schema = &schemas[*template];
        assert!(schema.is_object(), "{template}: {schemas}");
        pairs.push(json!([path, schema, ask(method, path).await]));
    }
    pairs
}

/// The answers of a gateway with a database.
async fn of_database() -> Vec<Value> {
    let world = World::start().await;
    let sent = [
        ("a", "/api/v1/rates/EUR/USD"),
        ("b", "/api/v1/rates/EUR/USD"),
        ("c", "/nowhere"),
    ];
    for (id, path) in sent {
        world.get_with(path, "X-Request-Id", id).await;
    }
    let node = "/admin/nodes/{node}/drain";
    let of_database = [
        (Method::GET, "/admin/topology", "/admin/topology"),
        (Method::GET, REQUEST, "/admin/requests/a"),
        (Method::GET, REQUEST, "/admin/requests/b"),
        (Method::GET, REQUEST, "/admin/requests/c"),
        (Method::GET, "/admin/regions", "/admin/regions"),
        (Method::POST, node, "/admin/nodes/eu-west-1/drain"),
        (
            Method::POST,
            "/admin/nodes/{node}/undrain",
            "/admin/nodes/eu-west-1/undrain",
        ),
        (
            Method::POST,
            "/admin/cache/purge",
            "/admin/cache/purge?prefix=/",
        ),
        (Method::GET, "/admin/schemas", "/admin/schemas"),
    ];
    let mut pairs = answers(&world.gateway, &of_database).await;
    pairs.extend(problems(&world.gateway).await);
    pairs
}

/// Problems, each with the schema that holds for all.
async fn problems(gateway: &GatewayProcess) -> Vec<Value> {
    let schemas = client().get(gateway.admin_url("/admin/schemas"));
    let schemas: Value = schemas.send().await.unwrap().json().await.unwrap();
    let schema = &schemas["/admin/*"];
    assert!(schema.is_object(), "{schemas}");
    let mut pairs = Vec::new();
    for (method, path) in [
        (Method::GET, "/admin/nowhere"),
        (Method::GET, "/admin/requests/never-seen"),
        (Method::GET, "/admin/traffic-policy"),
        (Method::POST, "/admin/topology"),
        (Method::POST, "/admin/nodes/nowhere/drain"),
        (Method::POST, "/admin/upstreams/a/nodes/b/drain"),
        (Method::POST, "/admin/regions/nowhere/drain"),
        (Method::POST, "/admin/cache/purge"),
        (Method::GET, "/admin/cache/purge"),
    ] {
        let request = client().request(method, gateway.admin_url(path));
        let answer = request.send().await.unwrap();
        assert!(answer.status().as_u16() >= 400, "{path}");
        pairs.push(json!([path, schema, answer.json::<Value>().await.unwrap()]));
    }
    pairs
}

/// The answers of a gateway with a fleet and a traffic policy.
async fn of_fleet() -> Vec<Value> {
    let scene = FleetScene::start(2, "policy away { prefer us-east-1 | local }\n").await;
    let sent = scene
        .request(Method::GET, "/app/a")
        .header("X-Request-Id", "d");
    assert_eq!(sent.send().await.unwrap().status(), 200);
    let url = urlencoded(&scene.app(0).url());
    let address = scene.app(0).address;
    let upstream = |what: &str| format!("/admin/upstreams/{url}/nodes/{address}/{what}");
    let (drain, undrain) = (upstream("drain"), upstream("undrain"));
    let of_fleet = [
        (Method::GET, "/admin/topology", "/admin/topology"),
        (Method::GET, "/admin/regions", "/admin/regions"),
        (
            Method::GET,
            "/admin/traffic-policy",
            "/admin/traffic-policy",
        ),
        (Method::GET, REQUEST, "/admin/requests/d"),
        (
            Method::POST,
            "/admin/upstreams/{upstream}/nodes/{node}/drain",
            &*drain,
        ),
        (
            Method::POST,
            "/admin/upstreams/{upstream}/nodes/{node}/undrain",
            &*undrain,
        ),
        (
            Method::POST,
            "/admin/regions/{region}/drain",
            "/admin/regions/us-east-1/drain?for=1m",
        ),
        (
            Method::POST,
            "/admin/regions/{region}/undrain",
            "/admin/regions/us-east-1/undrain",
        ),
    ];
    answers(scene.gateway(0), &of_fleet).await
}

#[tokio::test]
async fn every_answer_of_the_admin_listener_is_valid_by_its_schema() {
    let Some(python) = tool("jsonschema-python") else {
        eprintln!("SKIPPED: jsonschema is not installed, and it cannot be installed from PyPI");
        return;
    };
    let mut pairs = of_database().await;
    pairs.extend(of_fleet().await);
    let mut validator = Command::new(python);
    validator.args(["-c", VALIDATE]).stdin(Stdio::piped());
    let validator = validator.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut validator = validator.spawn().unwrap();
    let mut input = validator.stdin.take().unwrap();
    let text = serde_json::to_vec(&pairs).unwrap();
    input.write_all(&text).await.unwrap();
    drop(input);
    let output = validator.wait_with_output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let invalid = String::from_utf8(output.stdout).unwrap();
    assert!(invalid.is_empty(), "{invalid}");
}

fn urlencoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}
