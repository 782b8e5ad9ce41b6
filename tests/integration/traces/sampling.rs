//! Which requests are traced, and what applications learn of that.

use http::Method;

use super::kit::{Collector, ENDS_AT_ONCE, end};
use crate::upstream::kit::{App, Edge, endpoint};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What the caller says: nothing, or that it records or does not.
const CALLERS: [Option<&str>; 3] = [None, Some("01"), Some("00")];

#[tokio::test]
async fn a_sampler_decides_as_opentelemetry_says_and_applications_get_its_decision() {
    for (sampler, argument, recorded) in [
        ("", "", [true, true, false]),
        ("parentbased_always_on", "", [true, true, false]),
        ("parentbased_always_off", "", [false, true, false]),
        ("parentbased_traceidratio", "0", [false, true, false]),
        ("always_on", "", [true, true, true]),
        ("always_off", "", [false, false, false]),
        ("traceidratio", "1", [true, true, true]),
        ("traceidratio", "0.0", [false, false, false]),
    ] {
        let collector = Collector::start().await;
        let app = App::answering(200, "well").await;
        let file = format!(
            "{ENDS_AT_ONCE}{}",
            endpoint("*", "/app/{*rest}", &app.url())
        );
        let variables = collector.variables(&[
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
        ]);
        let mut edge = Edge::with_all(&variables, file).await;
        for (at, caller) in CALLERS.iter().enumerate() {
            let mut request = edge.request(Method::GET, &format!("/app/{at}"));
            if let Some(flags) = caller {
                let parent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
                request = request.header("traceparent", parent);
            }
            request.send().await.unwrap();
            let field = app.last().field("traceparent");
            let flags = if recorded[at] { "01" } else { "00" };
            assert!(
                field.ends_with(flags),
                "{sampler} {argument} {caller:?}: {field}"
            );
            assert_eq!(field.contains(TRACE), caller.is_some(), "{field}");
        }
        // Ending flushes what was recorded.
        end(&mut edge).await;
        let expected = recorded.iter().filter(|it| **it).count();
        let servers = collector.spans().iter().filter(|it| it.kind == 2).count();
        assert_eq!(servers, expected, "{sampler} {argument}");
    }
}
