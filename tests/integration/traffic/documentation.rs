//! The page about the language: its examples are policies.

use std::path::Path;

use tidegate_traffic::compile;
use tidegate_traffic::syntax::{Diagnostics, Source, format, parse};

/// Returns the fenced blocks of the page that are policies, with what follows `policy` on the fence.
fn examples() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/traffic-policy.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("\n```policy").skip(1).map(|rest| {
        let (fence, rest) = rest.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").unwrap();
        (fence.trim().to_owned(), format!("{text}\n"))
    });
    blocks.collect()
}

#[test]
fn every_example_is_a_policy_in_its_normal_form() {
    let examples = examples();
    assert!(examples.len() > 6, "{}", examples.len());
    for (fence, text) in examples {
        let source = Source::new("example", text.as_bytes());
        let compiled = compile(&source);
        let rendered = compiled.diagnostics.render(&source, false);
        assert_eq!(
            compiled.diagnostics.errors() > 0,
            fence == "refused",
            "{text}\n{rendered}"
        );
        assert!(
            compiled.diagnostics.errors() > 0 || compiled.diagnostics.warnings() == 0,
            "{text}\n{rendered}"
        );
        let parsed = parse(&source, &mut Diagnostics::default());
        assert_eq!(format(&parsed, &source), text);
    }
}
