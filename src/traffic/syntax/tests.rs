//! Reading, the normal form, and how errors are shown.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::token::Kind;
use super::*;

/// The file of the contract, as written there.
const WRITTEN: &str = include_str!("../tests/written.policy");

/// The same in its normal form.
const NORMAL: &str = include_str!("../tests/normal.policy");

/// Reads a text; returns its normal form, or line, column and title of each error.
fn read(text: &str) -> Result<String, Vec<(usize, usize, String)>> {
    let source = Source::new("x.policy", text.as_bytes());
    let mut diagnostics = Diagnostics::default();
    let parsed = parse(&source, &mut diagnostics);
    if diagnostics.errors() == 0 {
        assert!(parsed.whole);
        return Ok(format(&parsed, &source));
    }
    let rendered = diagnostics.render(&source, false);
    Err(places(&rendered))
}

/// Reads what has been rendered.
fn places(rendered: &str) -> Vec<(usize, usize, String)> {
    let mut places = Vec::new();
    let mut title = "";
    for line in rendered.lines() {
        if let Some(text) = line
            .strip_prefix("error: ")
            .or(line.strip_prefix("warning: "))
        {
            title = text;
        }
        if let Some(place) = line.trim_start().strip_prefix("--> x.policy:") {
            let (line, column) = place.split_once(':').unwrap();
            places.push((
                line.parse().unwrap(),
                column.parse().unwrap(),
                title.to_owned(),
            ));
        }
    }
    places
}

#[track_caller]
fn refused(text: &str, expected: &[(usize, usize, &str)]) {
    let found = read(text).unwrap_err();
    let shown: Vec<_> = found
        .iter()
        .map(|(line, column, title)| (*line, *column, title.as_str()))
        .collect();
    let same = shown.len() == expected.len()
        && shown
            .iter()
            .zip(expected)
            .all(|(one, other)| (one.0, one.1) == (other.0, other.1) && one.2.contains(other.2));
    assert!(same, "{text}\n{shown:#?}");
}

/// Returns the text that each error points at, and its help.
fn helps(text: &str) -> Vec<(String, String)> {
    let source = Source::new("x.policy", text.as_bytes());
    let mut diagnostics = Diagnostics::default();
    parse(&source, &mut diagnostics);
    let shown = diagnostics.shown();
    let help = |error: &&Diagnostic| {
        let word = &text[error.span.start..error.span.end];
        (word.to_owned(), error.help.clone().unwrap_or_default())
    };
    shown.iter().map(help).collect()
}

/// Checks that a text has exactly these errors: where, and the help.
#[track_caller]
fn helped(text: &str, expected: &[(&str, &str)]) {
    let found = helps(text);
    let found: Vec<_> = found
        .iter()
        .map(|(word, help)| (word.as_str(), help.as_str()))
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn the_normal_form_of_the_contract_s_file_is_as_expected() {
    assert_eq!(read(WRITTEN).unwrap(), NORMAL);
    assert_eq!(read(NORMAL).unwrap(), NORMAL);
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_matter() {
    let windows = format!("\u{feff}{}", WRITTEN.replace('\n', "\r\n"));
    assert_eq!(read(&windows).unwrap(), NORMAL);
}

#[test]
fn comments_stay_where_they_are() {
    let text = "# top\n\n# of a\nregion a # one\nregion bb at 1, # half\n 2 # whole\n\npolicy p { # head\n# own\n\
                prefer nearest(a, # first\n # second\n bb) # tail\n # end\n} # closed\n# last\n";
    let normal = "# top\n\n# of a\nregion a  # one\nregion bb at 1,  # half\n        2  # whole\n\n\
                  policy p {  # head\n  # own\n  prefer  nearest(a,  # first\n          # second\n          \
                  bb)  # tail\n  # end\n}  # closed\n\n# last\n";
    assert_eq!(read(text).unwrap(), normal);
    assert_eq!(read(normal).unwrap(), normal);
}

#[test]
fn a_comment_between_words_that_belong_together_stays() {
    let text = "window w {\n  from    2026-12-31T22:00Z to  # c\n          2027-01-01T02:00Z\n  else    500\n}\n";
    assert_eq!(read(text).unwrap(), text);
}

#[test]
fn long_lists_are_broken_between_their_members() {
    let names: Vec<_> = (10..40).map(|number| format!("us-east-{number}")).collect();
    let text = format!("policy p {{ prefer nearest({}) | local }}", names.join(","));
    let normal = read(&text).unwrap();
    assert!(normal.lines().all(|line| line.len() <= 100), "{normal}");
    assert_eq!(normal.matches("us-east-").count(), names.len());
    assert_eq!(read(&normal).unwrap(), normal);
}

#[test]
fn a_keyword_may_name_something_wherever_its_line_begins() {
    let text = "policy\nonly { match cookie\nfrom or header\ntest and host\nregion prefer a affinity cookie\nmatch }";
    let normal = "policy only {\n  match   cookie from or header test and host region\n  prefer  a\n  \
                  affinity cookie match\n}\n";
    assert_eq!(read(text).unwrap(), normal);
}

#[test]
fn regions_share_columns_up_to_a_blank_line() {
    let text = "region a at 1, 2 capacity 5 rps\nregion bbb load 7 rps capacity 1000 rps\n\nregion c capacity 1 rps";
    let normal = "region a    capacity    5 rps              at 1, 2\nregion bbb  capacity 1000 rps  load 7 rps\n\n\
                  region c  capacity 1 rps\n";
    assert_eq!(read(text).unwrap(), normal);
}

#[test]
fn an_unknown_word_is_shown_with_the_one_that_was_meant() {
    let text = "region a\npolicy p {\n  prefr a\n}\n";
    refused(text, &[(3, 3, "found `prefr`")]);
    let source = Source::new("x.policy", text.as_bytes());
    let mut diagnostics = Diagnostics::default();
    parse(&source, &mut diagnostics);
    let expected = "\
error: expected `match`, `only`, `prefer`, `affinity`, `leave`, `return`, `retry`, `panic`, `else`, `require` or `}`, found `prefr`
 --> x.policy:3:3
  |
3 |   prefr a
  |   ^^^^^
  |
  = help: did you mean `prefer`?

";
    assert_eq!(diagnostics.render(&source, false), expected);
    assert!(diagnostics.render(&source, true).contains("\u{1b}["));
}

#[test]
fn every_error_is_reported_and_none_that_follows() {
    let text = "regin a\npolicy p { match path /x adn method in (GET) prefer b else 503 }\n\
                policy q {\n  prefer\n  leave when errors >= 2% for 2s\n  affinity cokie sid else header x\n  \
                panic 50%\n}\nwindow w { match path /x every day 01:00-02:00 UTC drain b }\ntest \"t { given\n  expect b\n}\n\
                policy r {\n  prefer b\npolicy s { prefer b }\n}\n";
    refused(
        text,
        &[
            (1, 1, "found `regin`"),
            (2, 26, "found `adn`"),
            (5, 3, "expected a tier"),
            (5, 22, "expected a value"),
            (6, 12, "expected a key"),
            (7, 9, "expected `below`"),
            (9, 12, "`match` does not belong in `window`"),
            (10, 6, "this string is not terminated"),
            (15, 1, "policy `r` is not closed"),
            (16, 1, "found `}`"),
        ],
    );
}

#[test]
fn a_misspelt_kind_of_tier_is_one_error() {
    let example = "for example `prefer us-east-1 | nearest(eu-west-1, eu-central-1)`";
    for (tiers, word, help) in [
        ("neerest(a)", "neerest", "did you mean `nearest`?"),
        ("spraed(a, b) | c", "spraed", "did you mean `spread`?"),
        (
            "a | weightd(a 90, b 10)",
            "weightd",
            "did you mean `weighted`?",
        ),
        ("a(b)", "a", example),
    ] {
        let text = format!("policy p {{ prefer {tiers} else 503 }}");
        helped(&text, &[(word, help)]);
    }
}

#[test]
fn a_misspelt_word_of_a_clause_is_shown_with_the_one_that_was_meant() {
    helped(
        "policy p { match contry in (DE) prefer a affinity cokie sid }",
        &[
            ("contry", "did you mean `country`?"),
            ("cokie", "did you mean `cookie`?"),
        ],
    );
}

#[test]
fn a_misspelt_word_of_given_is_one_error_at_that_word() {
    let example = "for example `given country DE, path /account/balances, eu-central-1 left`";
    for (given, word, help) in [
        ("countri DE", "countri", "did you mean `country`?"),
        (
            "path /, headr x = \"1\", a left",
            "headr",
            "did you mean `header`?",
        ),
        ("aftr 30s a left", "aftr", "did you mean `after`?"),
        // This duration resembles `p99`.
        ("aftr 59s a left", "aftr", "did you mean `after`?"),
        ("country DE, ta 52.5 13.4", "ta", "did you mean `at`?"),
        ("a lft", "lft", "did you mean `left`?"),
        ("a lft 2%", "lft", "did you mean `left`?"),
        ("a eror 2%", "eror", "did you mean `errors`?"),
        // This region's name resembles `at`.
        ("ap lft", "lft", "did you mean `left`?"),
        (
            "after 1s a unreachble",
            "unreachble",
            "did you mean `unreachable`?",
        ),
        ("a lag", "expect", example),
        ("a", "expect", example),
        ("after 1s", "expect", example),
        ("country", "expect", example),
        ("country DE,", "expect", "remove the comma before it"),
    ] {
        for space in [" ", "\n"] {
            helped(
                &format!("test \"t\" {{ given {given}{space}expect a }}"),
                &[(word, help)],
            );
        }
    }
    helped(
        "test \"t\" { expect a given country DE, }",
        &[("}", "remove the comma before it")],
    );
    helped(
        "test \"t\" { given country DE, given path / expect a }",
        &[(
            "given",
            "write `given` once, and a comma before each further fact",
        )],
    );
    // Of hosts and headers these are names.
    let named = "test \"t\" { given host expect, header expect = \"given\" expect a }";
    assert!(read(named).is_ok());
}

#[test]
fn a_misspelt_word_with_which_a_clause_goes_on_is_one_error_at_that_word() {
    for (expect, word, help) in [
        ("nevr us-east-1", "nevr", "did you mean `never`?"),
        ("nevre a, b", "nevre", "did you mean `never`?"),
        ("a becuase residency", "becuase", "did you mean `because`?"),
        ("a yb p", "yb", "did you mean `by`?"),
        ("a thne b", "thne", "did you mean `then`?"),
        ("else by p becaus x", "becaus", "did you mean `because`?"),
    ] {
        for rest in ["", " given country DE", "\ngiven country DE\n"] {
            let text = format!("test \"t\" {{ expect {expect}{rest} }}");
            helped(&text, &[(word, help)]);
        }
    }
    for ramp in ["rmap", "rampp"] {
        let text = format!("policy p {{ return when errors < 1% for 60s {ramp} 5m prefer a }}");
        helped(&text, &[(ramp, "did you mean `ramp`?")]);
    }
    // A misspelt clause stays one.
    helped(
        "test \"t\" { expect a gven country DE }",
        &[("gven", "did you mean `given`?")],
    );
}

#[test]
fn each_misspelt_item_is_an_error_with_the_word_that_was_meant() {
    let policies = "polcy x { }\n".repeat(99);
    let all = helps(&format!("region a\nregion b at 1, 2\n{policies}"));
    let expected = ("polcy".to_owned(), "did you mean `policy`?".to_owned());
    assert_eq!(all, vec![expected; 99]);
    helped(
        "region a\ndefalts {\n  else 503\n}\ntset \"t\" {\n  expect a\n}\nwindo w { drain a }\n",
        &[
            ("defalts", "did you mean `defaults`?"),
            ("tset", "did you mean `test`?"),
            ("windo", "did you mean `window`?"),
        ],
    );
    let (region, group) = ("did you mean `region`?", "did you mean `group`?");
    helped(
        "regoin a at 1, 2\nregoin b\ngruop g = a, b\nregion c\ngrup h = c\nretrun when errors < 1%\n",
        &[
            ("regoin", region),
            ("regoin", region),
            ("gruop", group),
            ("grup", group),
        ],
    );
    helped(
        "region a\n  capcity 5 rps\nregion b lod 5 rps\nregion c polcy p { prefer a }",
        &[
            ("capcity", "did you mean `capacity`?"),
            ("lod", "did you mean `load`?"),
            ("polcy", "did you mean `policy`?"),
        ],
    );
    helped(
        "region a\nprefer a\n",
        &[("prefer", "clauses belong in `policy NAME { … }`")],
    );
}

#[test]
fn columns_are_counted_in_characters() {
    refused(
        "policy p { prefer a } # äöü\ntest \"日本語\" { gven x }",
        &[(2, 14, "found `gven`")],
    );
    refused("\u{feff}polcy", &[(1, 1, "found `polcy`")]);
    refused(
        &format!("{}policy", " ".repeat(70_000)),
        &[(1, 70_007, "expected a name")],
    );
}

#[test]
fn errors_at_the_end_are_shown_on_the_last_line_with_text() {
    refused(
        "policy p {\n  prefer a\n\n\n",
        &[(2, 11, "policy `p` is not closed")],
    );
    refused("region", &[(1, 7, "expected a region's name")]);
}

#[test]
fn at_most_a_hundred_errors_are_shown_and_the_rest_counted() {
    let text = "policy p { foo }\n".repeat(150);
    let source = Source::new("x.policy", text.as_bytes());
    let mut diagnostics = Diagnostics::default();
    parse(&source, &mut diagnostics);
    let rendered = diagnostics.render(&source, false);
    assert_eq!(diagnostics.errors(), 150);
    assert_eq!(places(&rendered).len(), ERRORS_MAX);
    assert_eq!(places(&rendered)[99].0, 100);
    assert!(rendered.ends_with("and 50 errors more\n"), "{rendered}");
}

#[test]
fn a_string_with_escapes_is_one_error() {
    let policy = |value: &str| format!("policy p {{ match header x = {value} prefer a }}");
    for value in [
        r#""a\"b""#,
        r#""\"b\"" and header y = "c""#,
        r#""a\"é\" c""#,
        r#""\"""#,
        r#""x\"" and header y = "z""#,
        r#""x\"and y""#,
        r#""x\"" and header y = "\"""#,
    ] {
        let errors = read(&policy(value)).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].1, 29, "{errors:?}");
        assert_eq!(errors[0].2, "strings have no escapes");
    }
    // A backslash by itself is a character like any other.
    for value in [
        r#""a\""#,
        r#""a\b""#,
        r#""\" and header y = "b""#,
        r#""C:\"and header y = "D""#,
        r#""C:\"or header y = "D\"and header z"#,
        "\"C:\\\"and header y # say \"hi\n",
        "\"C:\\\"\nand header y = \"D\"",
    ] {
        assert!(read(&policy(value)).is_ok(), "{value}");
    }
}

#[test]
fn parentheses_nest_so_deep_and_no_deeper() {
    let nested = |depth: usize| {
        let (open, close) = ("(".repeat(depth), ")".repeat(depth));
        read(&format!(
            "policy p {{ match {open}path /x{close} prefer a }}"
        ))
    };
    assert!(nested(32).is_ok());
    assert!(nested(33).is_err());
    let denied = |count: usize| {
        let nots = "not ".repeat(count);
        read(&format!("policy p {{ match {nots}path /x prefer a }}"))
    };
    assert!(denied(32).is_ok());
    assert_eq!(denied(33).unwrap_err().len(), 1);
    assert_eq!(read(&"(".repeat(BYTES_MAX)).unwrap_err().len(), 1);
    let nots = "not ".repeat(60_000);
    assert_eq!(
        read(&format!("policy p {{ match {nots} path /x prefer a }}"))
            .unwrap_err()
            .len(),
        1
    );
}

#[test]
fn a_file_that_is_too_large_or_not_text_has_one_error() {
    let large = format!("{}region a", "\n".repeat(BYTES_MAX));
    assert!(
        read(&large).unwrap_err()[0]
            .2
            .contains("larger than 256 KiB")
    );
    let cut = "é".repeat(BYTES_MAX);
    assert_eq!(read(&cut).unwrap_err().len(), 1);
    let source = Source::new("x.policy", b"region a\nregion \xff");
    let mut diagnostics = Diagnostics::default();
    parse(&source, &mut diagnostics);
    assert_eq!(
        places(&diagnostics.render(&source, false)),
        [(2, 8, "the file is not UTF-8".to_owned())]
    );
}

#[test]
fn messages_repeat_no_control_characters_and_no_endless_words() {
    let text = format!("\u{1b}[31m{}\u{7}", "x".repeat(1_000));
    let source = Source::new("x.policy", text.as_bytes());
    let mut diagnostics = Diagnostics::default();
    parse(&source, &mut diagnostics);
    let rendered = diagnostics.render(&source, false);
    assert!(!rendered.contains(['\u{1b}', '\u{7}']), "{rendered}");
    assert!(rendered.len() < 1_000, "{}", rendered.len());
}

#[test]
fn what_cannot_be_seen_is_shown_as_an_escape() {
    let text = "\u{feff}\u{feff}region a # \u{202e}\n";
    let source = Source::new("x.policy", text.as_bytes());
    let mut diagnostics = Diagnostics::default();
    parse(&source, &mut diagnostics);
    let rendered = diagnostics.render(&source, false);
    let line = "1 | \\u{feff}region a # \\u{202e}\n  | ^^^^^^^^^^^^^^\n";
    assert!(rendered.contains("found `\\u{feff}region`\n"), "{rendered}");
    assert!(rendered.contains("--> x.policy:1:1\n"), "{rendered}");
    assert!(rendered.contains(line), "{rendered}");
    let first = diagnostics.shown()[0].in_one_line(&source);
    assert!(first.starts_with("1:1: "), "{first}");
    assert!(first.contains("found `\\u{feff}region`"), "{first}");
    // Columns count what is written.
    refused("a\u{2060}b", &[(1, 1, "found `a\\u{2060}b`")]);
    refused("# \n\u{ad} # \n", &[(2, 1, "found `\\u{ad}`")]);
    refused(
        "policy p { match header x = \"\u{feff}\u{200b}\" prefr a }",
        &[(1, 34, "found `prefr`")],
    );
}

#[test]
fn a_file_that_is_cut_anywhere_is_read_without_a_panic() {
    for (end, _) in WRITTEN.char_indices() {
        let _either = read(&WRITTEN[..end]);
    }
}

/// Words and symbols of the language, and others.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "region",
        "group",
        "defaults",
        "policy",
        "window",
        "test",
        "{",
        "}",
        "(",
        ")",
        ",",
        "|",
        "=",
        "<",
        ">",
        "match",
        "only",
        "prefer",
        "leave",
        "return",
        "when",
        "errors",
        "2%",
        "for",
        "2s",
        "or",
        "and",
        "not",
        "path",
        "/x",
        "in",
        "country",
        "DE",
        "a",
        "b",
        "\"t\"",
        "\"",
        "given",
        "expect",
        "else",
        "503",
        "every",
        "day",
        "01:00-02:00",
        "UTC",
        "drain",
        "# c",
        "\n",
        "é",
        "\r\n",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.join(" "))
}

/// Files that can be read, with comments and white space anywhere.
fn spaced() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec![
        " ",
        "\n",
        "\n\n",
        "  # c\n",
        "\n# d\n",
        "\n\n# e\n\n",
        "\t",
    ]);
    prop::collection::vec(space, 400).prop_map(|spaces| {
        let source = Source::new("x", WRITTEN.as_bytes());
        let found = token::tokens(&source, &mut Diagnostics::default());
        let mut spaces = spaces.iter().cycle();
        let mut text = String::new();
        for token in found.tokens {
            let (start, end) = (token.span.start, token.span.end);
            text.push_str(&WRITTEN[start..end]);
            text.push_str(spaces.next().unwrap());
        }
        text
    })
}

/// Returns how often each token and each comment occurs.
fn pieces(text: &str) -> BTreeMap<String, usize> {
    let source = Source::new("x", text.as_bytes());
    let found = token::tokens(&source, &mut Diagnostics::default());
    let mut pieces = BTreeMap::new();
    let tokens = found.tokens.iter().map(|token| match token.kind {
        Kind::Text => format!("{:?}", token.text),
        Kind::Word | Kind::Symbol | Kind::Unclosed => token.text.to_owned(),
    });
    let comments = found.comments.iter().map(|comment| comment.text.to_owned());
    for piece in tokens.chain(comments) {
        *pieces.entry(piece).or_insert(0) += 1;
    }
    pieces
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let source = Source::new("x.policy", &bytes);
        let mut diagnostics = Diagnostics::default();
        parse(&source, &mut diagnostics);
        diagnostics.render(&source, true);
    }

    #[test]
    fn any_words_are_read_or_refused(text in soup()) {
        if let Ok(normal) = read(&text) {
            prop_assert_eq!(pieces(&normal), pieces(&text));
            prop_assert_eq!(read(&normal).unwrap(), normal);
        }
    }

    #[test]
    fn the_normal_form_keeps_every_token_and_comment_and_is_its_own(text in spaced()) {
        let normal = read(&text).unwrap();
        prop_assert_eq!(pieces(&normal), pieces(&text));
        prop_assert_eq!(read(&normal).unwrap(), normal);
    }
}
