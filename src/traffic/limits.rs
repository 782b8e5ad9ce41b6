//! The largest and worst files take no longer than allowed.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use crate::syntax::{BYTES_MAX, ERRORS_MAX, Source};
use crate::{Compiled, compile};

/// The time that a file may take, and that without optimisation.
const TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });

#[track_caller]
fn bounded(name: &str, text: &str) -> Compiled {
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    let source = Source::new("x.policy", text.as_bytes());
    let begun = SystemTime::now();
    let compiled = compile(&source);
    let rendered = compiled.diagnostics.render(&source, true);
    let taken = begun.elapsed().unwrap_or_default();
    println!("{name}: {taken:?}, {}", compiled.summary());
    assert!(taken < TIME_MAX, "{name}: {taken:?}");
    assert!(rendered.len() < 1 << 20, "{name}: {}", rendered.len());
    assert!(rendered.matches("-->").count() <= 2 * ERRORS_MAX);
    compiled
}

/// Repeats a numbered part of a file until the file has the maximum size.
fn repeated(head: &str, part: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let part = part(number);
        if text.len() + part.len() + tail.len() > BYTES_MAX {
            break;
        }
        text.push_str(&part);
    }
    text + tail
}

const REGIONS: &str = "region us-east-1 region eu-west-1 region eu-central-1\n";

const LAST: &str = "\npolicy z { prefer nearest(us-east-1, eu-west-1, eu-central-1) }\n";

/// A policy with a condition made of numbered parts.
fn condition(joint: &str, part: impl Fn(usize) -> String) -> String {
    let head = format!("{REGIONS}policy a {{ prefer us-east-1 | eu-west-1 match method in (GET)");
    repeated(
        &head,
        |number| format!(" {joint} {}", part(number)),
        &format!(" }}{LAST}"),
    )
}

#[test]
fn texts_that_are_no_policy() {
    for symbol in [
        "(",
        "{",
        "}",
        "\"",
        "\"\n",
        "#",
        "not ",
        "policy ",
        "policy a {",
        "test \"\" {",
        "x\n",
        "=,|",
    ] {
        bounded(symbol, &symbol.repeat(BYTES_MAX));
    }
    bounded(
        "unknown clauses",
        &repeated("", |number| format!("policy p{number} {{ prefr a }}\n"), ""),
    );
    bounded(
        "unknown blocks",
        &repeated("", |number| format!("polcy p{number} {{ }}\n"), ""),
    );
    bounded(
        "unknown regions",
        &repeated("", |number| format!("regoin r{number}\n"), ""),
    );
    bounded(
        "one line",
        &repeated("policy p { ", |_| "leave when x ".to_owned(), "}"),
    );
    bounded(
        "long words",
        &format!("policy {} {{", "é".repeat(BYTES_MAX)),
    );
    for text in ["", "\u{feff}", "\u{feff}# nothing\n", "\u{feff}\r\n\r\n"] {
        let compiled = bounded("nothing", text);
        assert_eq!(compiled.diagnostics.errors(), 1, "{text:?}");
    }
}

#[test]
fn a_text_that_is_too_large_is_shown_where_it_ends() {
    for symbol in ["\r", "\n", "\r\n", "é", "\u{feff}", "x "] {
        let text = symbol.repeat(BYTES_MAX + 1);
        let source = Source::new("x.policy", text.as_bytes());
        let rendered = compile(&source).diagnostics.render(&source, false);
        assert!(rendered.contains("larger than 256 KiB"), "{symbol:?}");
    }
}

#[test]
fn names() {
    bounded(
        "undeclared",
        &repeated(
            REGIONS,
            |number| format!("policy p{number} {{ prefer eu-wost-{number} }}\n"),
            LAST,
        ),
    );
    bounded(
        "undeclared in one list",
        &repeated(
            "policy p { only a",
            |number| format!(", us-eest-{number}"),
            " prefer a }",
        ),
    );
    let groups = |number| format!("group g{number} = us-east-1, g{}\n", number + 1);
    bounded("groups of groups", &repeated(REGIONS, groups, LAST));
    let groups = |number| format!("group g{} = us-east-1, g{number}\n", number + 1);
    bounded(
        "groups of groups, in order",
        &repeated(&format!("{REGIONS}group g0 = eu-west-1\n"), groups, LAST),
    );
    bounded(
        "regions",
        &repeated(
            "",
            |number| format!("region r{number} capacity 1 rps load 1 rps at 1, 1\n"),
            LAST,
        ),
    );
    bounded(
        "zones",
        &repeated(
            REGIONS,
            |_| "window w { every day 01:00-02:00 Europe/Berln drain eu-west-1 }\n".to_owned(),
            LAST,
        ),
    );
}

#[test]
fn conditions() {
    bounded(
        "paths",
        &condition("or", |number| format!("path /a/{number}")),
    );
    bounded(
        "all paths",
        &condition("and", |number| format!("path /a/{number}")),
    );
    bounded(
        "not paths",
        &condition("and not", |number| format!("path /a/{number}*")),
    );
    bounded(
        "path lists",
        &condition("or", |number| {
            format!("path /a{number}, /b{number}/*, /c{number}*")
        }),
    );
    bounded(
        "hosts",
        &condition("or", |number| format!("host a{number}.example")),
    );
    bounded(
        "not hosts",
        &condition("and not", |number| format!("host a{number}.example")),
    );
    bounded(
        "headers",
        &condition("and", |number| format!("header x{number}")),
    );
    bounded(
        "header values",
        &condition("and not", |number| format!("header x = \"{number}\"")),
    );
    bounded(
        "countries",
        &condition("or", |_| {
            "country in (DE, FR) and not continent in (AS)".to_owned()
        }),
    );
    let network =
        |number: usize| format!("client in ({}.{}.0.0/16)", number / 256 % 256, number % 256);
    bounded("clients", &condition("or", network));
    bounded("not clients", &condition("and not", network));
    bounded(
        "pairs",
        &condition("and", |number| {
            format!("(path /a{number} or header x{number})")
        }),
    );
}

#[test]
fn policies() {
    let policy = |number: usize| {
        let mut condition = String::new();
        for part in 0..20 {
            let _infallible = write!(
                condition,
                "header x{} or path /a{}* and ",
                number * part % 97,
                number * part % 89
            );
        }
        format!(
            "policy p{number} {{ match {condition} method in (GET, POST) and country in (DE, FR) prefer us-east-1 | eu-west-1 }}\n"
        )
    };
    let policies: String = (0..255).map(policy).collect();
    bounded("policies", &format!("{REGIONS}{policies}{LAST}"));
    let policy = |number: usize| {
        format!(
            "policy p{number} {{ match not header x{number} and not path /a{number}* and not country in (DE) and not host h{number} prefer us-east-1 | eu-west-1 }}\n"
        )
    };
    let policies: String = (0..255).map(policy).collect();
    bounded("holes", &format!("{REGIONS}{policies}{LAST}"));
}

#[test]
fn windows() {
    let window = |number: usize| {
        let mut periods = String::new();
        for period in 0..15 {
            let minute = (number * 7 + period * 97) % 1_440;
            let (begin, end) = (minute, (minute + 45) % 1_440);
            let _infallible = write!(
                periods,
                "every day {:02}:{:02}-{:02}:{:02} Europe/Berlin ",
                begin / 60,
                begin % 60,
                end / 60,
                end % 60
            );
        }
        format!(
            "window w{number} {{ {periods} leave when errors > 1.{number:02}% for 1s return when errors < 1% for 1s require survive 2 }}\n"
        )
    };
    let windows: String = (0..64).map(window).collect();
    let policies: String = (0..255).map(|number| format!("policy p{number} {{ match path /{number} prefer us-east-1 | eu-west-1 leave when errors > 2.{number:03}% for 2s return when errors < 1.5% for 2s }}\n")).collect();
    bounded("windows", &format!("{REGIONS}{policies}{LAST}{windows}"));
    let window = |number: usize| {
        format!(
            "window w{number} {{ from 20{:02}-01-01T00:00Z to 20{:02}-01-02T00:00Z every day 0{}:00-0{}:30 Europe/Berlin drain eu-west-1 }}\n",
            30 + number % 60,
            30 + number % 60,
            number % 10,
            number % 10
        )
    };
    let windows: String = (0..64).map(window).collect();
    bounded("drains", &format!("{REGIONS}{policies}{LAST}{windows}"));
    bounded(
        "periods",
        &repeated(
            REGIONS,
            |_| "every monday 01:00-02:00 UTC ".to_owned(),
            LAST,
        )
        .replacen("every", "window w { every", 1),
    );
}

#[test]
fn capacities() {
    let regions: String = (0..64)
        .map(|number| {
            format!("region r{number:02} at {number}, {number} capacity 1000000 rps load 100 rps\n")
        })
        .collect();
    let names: Vec<_> = (0..64).map(|number| format!("r{number:02}")).collect();
    let names = names.join(", ");
    for tier in ["nearest", "spread"] {
        let policies: String = (0..255)
            .map(|number| {
                format!(
                    "policy p{number} {{ match path /{number} prefer r{:02} | {tier}({names}) }}\n",
                    number % 64
                )
            })
            .collect();
        let text = format!(
            "{regions}defaults {{ require survive 3 }}\n{policies}policy z {{ prefer local | {tier}({names}) }}"
        );
        bounded(tier, &text);
    }
}

#[test]
fn tests_in_the_file() {
    let policy = |number: usize| {
        format!(
            "policy p{number} {{ match path /{number} and header x{number} prefer us-east-1 | eu-west-1 \
             leave when errors > 2.{number:03}% for {number}s return when errors < 1.5% for 2s }}\n"
        )
    };
    let policies: String = (0..255).map(policy).collect();
    let most = |name: &str, policies: &str, test: &dyn Fn(usize) -> String| {
        let tests: String = (0..1_000).map(test).collect();
        let compiled = bounded(name, &format!("{REGIONS}{policies}{LAST}{tests}"));
        assert_eq!(compiled.tests.len(), 1_000);
    };
    let given = |number: usize, given: &str, expect: &str| {
        format!(
            "test \"{number}\" {{ given path /{}, {given} expect {expect} }}\n",
            number % 255
        )
    };
    most("tests", &policies, &|number| {
        given(number, "us-east-1 errors 10%", "eu-west-1")
    });
    most("proofs", &policies, &|number| {
        given(number, "method GET", "never eu-central-1")
    });
    let times = "after 1s us-east-1 errors 10%, after 1h us-east-1 errors 0%";
    most("timelines", &policies, &|number| {
        given(number, times, "eu-west-1")
    });
    most("few policies", "", &|number| given(number, times, "local"));
    // Leaves room for what comes before it.
    let long = repeated(
        &format!("{:400}test \"\" {{ given path /", ""),
        |number| format!(", after {number}s us-east-1 errors 10%"),
        " expect local }",
    );
    let clauses = "defaults { leave when errors > 2% for 2s return when errors < 1% for 1s }\n";
    bounded(
        "one long timeline",
        &format!("{REGIONS}{LAST}{clauses}{}", long.trim_start()),
    );
}
