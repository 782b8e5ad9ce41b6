use super::*;
use proptest::prelude::*;

/// The file of the design.
const EXAMPLE: &str = include_str!("../tests/example.policy");

fn read(text: &str) -> (String, String) {
    let source = Source::new("x.policy", text.as_bytes());
    let mut diagnostics = Diagnostics::default();
    let parsed = parse(&source, &mut diagnostics);
    (diagnostics.render(&source, false), if parsed.whole { format(&parsed, source.text()) } else { String::new() })
}

#[test]
fn show() {
    let (errors, text) = read(EXAMPLE);
    println!("{errors}{text}");
    for text in ["", "}", "policy", "policy x {", "policy x {\n prefr us\n else 503\n\npolicy y { match path /a pth\n prefer\n only x } regin us-east-1 test \"abc", "\u{feff}a # \u{1b}[31m", &"(".repeat(1000), "policy x { match ((((((((((((((((((((((((((((((((((((((((((((((((path /a prefer x }"] {
        println!("=====\n{}", read(text).0);
    }
}
