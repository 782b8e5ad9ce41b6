//! OpenTelemetry's variables.

use tidegate::testkit::GatewayCommand;

use super::kit::{Collector, ENDS_AT_ONCE, end};
use crate::upstream::kit::{App, Edge, endpoint};
use crate::world::BINARY;

#[tokio::test]
async fn grpc_is_refused_at_start_with_the_name_of_the_variable() {
    for name in [
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    ] {
        let output = GatewayCommand::new(BINARY, "serve")
            .env("REGION", "eu-west-1")
            .env("DATABASE_URL", "postgres://app@127.0.0.1:1/app")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env(name, "grpc")
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("{name} = \"grpc\"")), "{said}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_one_warning_that_names_the_variable_and_requests_are_traced() {
    let collector = Collector::start().await;
    let app = App::answering(200, "well").await;
    let variables = collector.variables(&[
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
    ]);
    let edge = Edge::with_all(&variables, endpoint("*", "/app/{*rest}", &app.url())).await;
    edge.get("/app/a").await;
    collector.trace("GET /app/{*rest}").await;
    let log = edge.gateway.log();
    for name in ["OTEL_TRACES_SAMPLER", "OTEL_BSP_MAX_QUEUE_SIZE"] {
        let warnings = log.lines().filter(|line| line.contains(name));
        let warnings: Vec<_> = warnings.collect();
        assert_eq!(warnings.len(), 1, "{name}: {log}");
        assert!(
            warnings[0].starts_with("{\"severity\":\"WARN\""),
            "{warnings:?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_sent_where_a_variable_turns_traces_off() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let collector = Collector::start().await;
        let app = App::answering(200, "well").await;
        let variables = collector.variables(&[(name, value)]);
        let file = endpoint("*", "/app/{*rest}", &app.url());
        let mut edge = Edge::with_all(&variables, format!("{ENDS_AT_ONCE}{file}")).await;
        edge.get("/app/a").await;
        end(&mut edge).await;
        assert!(collector.sent().is_empty(), "{name}");
    }
}
