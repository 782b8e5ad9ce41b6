//! Any bytes are a policy or are refused with errors that can be shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_traffic::compile;
use tidegate_traffic::syntax::{Diagnostics, Source, format, parse};

fuzz_target!(|bytes: &[u8]| {
    let source = Source::new("fuzz.policy", bytes);
    let compiled = compile(&source);
    compiled.diagnostics.render(&source, true);
    assert!(compiled.plan.is_some() || compiled.diagnostics.errors() > 0);
    let mut diagnostics = Diagnostics::default();
    let parsed = parse(&source, &mut diagnostics);
    if diagnostics.errors() > 0 {
        return;
    }
    let normal = format(&parsed, &source);
    let source = Source::new("fuzz.policy", normal.as_bytes());
    let parsed = parse(&source, &mut diagnostics);
    assert_eq!(diagnostics.errors(), 0);
    assert_eq!(format(&parsed, &source), normal);
});
