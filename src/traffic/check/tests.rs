//! What is refused, and what is not.

use crate::compile;
use crate::syntax::Source;

/// Lines 1 to 4.
const REGIONS: &str = "region a at 50, 0\nregion b at 50, 10\nregion c at 40, -75\nregion d\n";

/// Returns the line and the title of each error and warning.
fn found(text: &str) -> Vec<(usize, String)> {
    let source = Source::new("x.policy", text.as_bytes());
    let rendered = compile(&source).diagnostics.render(&source, false);
    let mut found = Vec::new();
    let mut title = "";
    for line in rendered.lines() {
        if line.starts_with("error: ") || line.starts_with("warning: ") {
            title = line;
        }
        if let Some(place) = line.trim_start().strip_prefix("--> x.policy:") {
            let (line, _) = place.split_once(':').unwrap();
            found.push((line.parse().unwrap(), title.to_owned()));
        }
    }
    found
}

/// Checks that a file, after the regions, has exactly these errors: the line after the regions' and a
/// part of the title. Warnings do not count.
#[track_caller]
fn refused(text: &str, expected: &[(usize, &str)]) {
    refused_after(REGIONS, text, expected);
}

#[track_caller]
fn refused_after(regions: &str, text: &str, expected: &[(usize, &str)]) {
    let text = format!("{regions}{text}");
    let all = found(&text);
    let errors: Vec<_> = all
        .iter()
        .filter(|(_, title)| title.starts_with("error"))
        .collect();
    let same = errors.len() == expected.len()
        && errors.iter().zip(expected).all(|(one, other)| {
            one.0 == other.0 + regions.lines().count() && one.1.contains(other.1)
        });
    assert!(same, "{text}\n{all:#?}");
}

#[track_caller]
fn accepted(text: &str) {
    refused(text, &[]);
}

#[track_caller]
fn warned(text: &str, expected: &str) {
    let text = format!("{REGIONS}{text}");
    let all = found(&text);
    let warned = all
        .iter()
        .any(|(_, title)| title.starts_with("warning") && title.contains(expected));
    let wrong = all.iter().any(|(_, title)| title.starts_with("error"));
    assert!(warned && !wrong, "{text}\n{all:#?}");
}

#[test]
fn names_are_declared_once_and_before_anything_stands_for_them() {
    refused(
        "region a policy p { prefer a }",
        &[(1, "`a` is already declared")],
    );
    refused(
        "region Eu policy p { prefer a }",
        &[(1, "`Eu` is not a region's name")],
    );
    refused(
        "group local = a policy p { prefer a }",
        &[(1, "`local` is not free as a name")],
    );
    refused(
        "policy p { prefer nearest(a, x) | zz }",
        &[(1, "named `x`"), (1, "named `zz`")],
    );
    refused(
        "group x = y\ngroup y = x\npolicy p { prefer a }",
        &[(2, "group `x` is part of itself")],
    );
    refused(
        "group x = a, b policy p { prefer x }",
        &[(1, "`x` is a group")],
    );
    refused(
        "group x = a, b, a policy p { prefer nearest(x) }",
        &[(1, "`a` is in this list twice")],
    );
    refused(
        "policy p { match path /x prefer a }\npolicy p { prefer a }",
        &[(2, "named `p`")],
    );
    accepted("group y = x, c\ngroup x = a, b\npolicy p { only y prefer nearest(y) }");
}

#[test]
fn groups_nest_so_deep_and_no_deeper_in_any_order_of_names() {
    let chain = |length: usize, name: &dyn Fn(usize) -> usize| {
        let mut text = format!("group g{:03} = a\n", name(0));
        for at in 1..length {
            text += &format!("group g{:03} = b, g{:03}\n", name(at), name(at - 1));
        }
        text + &format!(
            "policy p {{ prefer nearest(a, b) | nearest(g{:03}, c) }}",
            name(length - 1)
        )
    };
    for length in [32, 33, 100] {
        let orders: [&dyn Fn(usize) -> usize; 3] =
            [&|at| at, &|at| length - at, &|at| at * 37 % 101];
        for order in orders {
            let text = chain(length, order);
            match length {
                32 => accepted(&text),
                _ => refused(&text, &[(33, "groups nest at most 32 deep")]),
            }
        }
    }
    // What contains itself is not too deep as well.
    let around: String = (1..40)
        .map(|at| format!("group g{at} = g{}\n", at % 39 + 1))
        .collect();
    refused(
        &format!("{around}policy p {{ prefer a }}"),
        &[(39, "is part of itself")],
    );
}

#[test]
fn fields_that_are_not_the_same_in_every_protocol_are_no_headers() {
    for (field, right) in [
        ("host", "`host` is not a header that a policy can read"),
        (
            "Connection",
            "`Connection` is not a header that a policy can read",
        ),
        ("te", "`te` is not a header"),
        ("tidegate-route", "`tidegate-route` is not a header"),
        (":authority", "`:authority` is not a header"),
    ] {
        for policy in [
            format!("policy q {{ match header {field} prefer b }}\npolicy p {{ prefer a }}"),
            format!("policy p {{ prefer spread(a, b) affinity header {field} }}"),
            format!(
                "policy p {{ prefer a }} test \"t\" {{ given header {field} = \"x\" expect a }}"
            ),
        ] {
            refused(&policy, &[(1, right)]);
        }
    }
    accepted("policy q { match header hosts and header x-te prefer b }\npolicy p { prefer a }");
}

#[test]
fn what_could_not_be_read_is_not_missed_elsewhere() {
    refused(
        "regoin x at 1, 2\npolicy p { prefer x | a }",
        &[(1, "found `regoin`")],
    );
    refused(
        "policy p { prefer neerest(a, b) }",
        &[(
            1,
            "expected `nearest`, `spread` or `weighted` before `(`, found `neerest`",
        )],
    );
    refused(
        "group g = ,\npolicy p { prefer nearest(g) }",
        &[(1, "expected a region or a group")],
    );
    refused(
        "polcy z { prefer a }\ntest \"t\" { given path / expect a by z }",
        &[(1, "found `polcy`")],
    );
    refused(
        "defaults { leave when errors > 2 for 2s return when errors < 5% for 2s }\npolicy p { prefer a }",
        &[(1, "`2` is not a percentage")],
    );
    refused(
        "policy p { prefr a }\ntest \"t\" { given path / expect a by p }",
        &[(1, "found `prefr`")],
    );
}

#[test]
fn values_have_their_units_and_ranges() {
    let clause = |clause: &str, wrong: &str| {
        refused(&format!("policy p {{ prefer a {clause} }}"), &[(1, wrong)]);
    };
    clause("leave when errors > 2 for 2s", "`2` is not a percentage");
    clause(
        "leave when errors > 101% for 2s",
        "`101%` is not a percentage",
    );
    clause("leave when p99 > 400 for 2s", "`400` is not a duration");
    clause("leave when p99 > 2% for 2s", "`2%` is not a duration");
    clause("leave when eror > 2% for 2s", "`eror` is not a quantity");
    clause("leave when errors > 2% for 2", "`2` is not a duration");
    clause(
        "leave when errors > 2% or errors > 3% for 2s",
        "`errors` is compared twice",
    );
    clause("else 200", "`200` is not a status");
    clause("else 600", "`600` is not a status");
    clause("panic below half", "`half` is not a percentage");
    clause("retry idempotent x budget 20%", "`x` is not a whole number");
    clause(
        "retry idempotent 2147483648 budget 20%",
        "not a whole number",
    );
    clause(
        "require survive 4",
        "`4` is not a number of regions to lose",
    );
    clause(
        "require survive 0",
        "`0` is not a number of regions to lose",
    );
    clause("affinity client /33", "`/33` is not a prefix length");
    clause("affinity path 0", "`0` is not a number of segments");
    clause(
        "affinity cookie a else cookie a",
        "`a` is in this list twice",
    );
    clause("else 503 else 504", "this block has `else` twice");
    refused(
        "region x capacity -1 rps policy p { prefer a }",
        &[(1, "`-1` is not a whole number")],
    );
    refused(
        "region x at 91, 0 policy p { prefer a }",
        &[(1, "`91` is not a latitude")],
    );
    refused(
        "region x at 0, 180.5 policy p { prefer a }",
        &[(1, "`180.5` is not a longitude")],
    );
    refused(
        "region x at 1, 1 at 1, 1 policy p { prefer a }",
        &[(1, "`at` is given twice")],
    );
    refused(
        "policy p { prefer weighted(a 0, b 1) }",
        &[(1, "`0` is not a weight")],
    );
    accepted(
        "policy p { prefer a leave when errors > 0.0001% and lag > 1.5h for 250ms return when p99 < 0.5ms for 0s }",
    );
}

#[test]
fn conditions_have_values_that_a_request_can_have() {
    let condition = |condition: &str, wrong: &str| {
        let text = format!("policy p {{ match {condition} prefer a }}\npolicy z {{ prefer a }}");
        refused(&text, &[(1, wrong)]);
    };
    condition("path x", "`x` is not a pattern of paths");
    condition("path /a/*/b", "`/a/*/b` is not a pattern of paths");
    condition("path /a%20b", "is not a pattern of paths");
    condition("path /a, /a", "`/a` is in this list twice");
    condition("method in (get)", "`get` is not a method");
    condition("country in (UK)", "`UK` is not a country's code");
    condition("country in (de)", "`de` is not a country's code");
    condition("continent in (XX)", "`XX` is not a continent's code");
    condition("client in (10.0.0.1/8)", "`10.0.0.1/8` is not a network");
    condition("client in (10.0.0.1)", "`10.0.0.1` is not a network");
    condition(
        "client in (::ffff:10.0.0.0/104)",
        "`::ffff:10.0.0.0/104` is not a network",
    );
    condition("host a:80", "`a:80` is not a name");
    condition("header ä", "`ä` is not a name");
    let no_header = "is not a value that a header can have";
    for value in [" lead", "trail\t", " ", "a\u{7}b"] {
        condition(&format!("header x = \"{value}\""), no_header);
        condition(&format!("not header x = \"{value}\""), no_header);
    }
    let no_cookie = "is not a value that a cookie can have";
    for value in ["b;c", ";", "trail ", " ", "a\u{7f}b"] {
        condition(&format!("cookie x = \"{value}\""), no_cookie);
    }
    for value in ["", "a b", "a\tb", "é", "a\\b"] {
        accepted(&format!(
            "policy p {{ match header x = \"{value}\" or cookie x = \"{value}\" or query x = \"{value};\" prefer a }}\n\
             policy z {{ prefer a }}"
        ));
    }
}

#[test]
fn a_ramp_is_as_far_as_its_percentage_says() {
    use super::values::ramp_position;
    for (text, position) in [
        ("0%", Some(0)),
        ("0.29%", Some(29)),
        ("1.1%", Some(110)),
        ("57.3%", Some(5_730)),
        ("100%", Some(10_000)),
        ("100.0001%", None),
        ("1e1%", None),
        ("-0%", None),
        ("+1%", None),
        ("30", None),
    ] {
        assert_eq!(ramp_position(text), position, "{text}");
    }
}

#[test]
fn networks_of_mapped_addresses_are_those_of_ipv4() {
    for (network, right) in [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:10.1.2.3/128", "10.1.2.3/32"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:0:0/95", "::fffe:0:0/95"),
    ] {
        let text = format!(
            "{REGIONS}policy p {{ match client in ({network}) prefer a }}\npolicy z {{ prefer a | b }}"
        );
        let source = Source::new("x.policy", text.as_bytes());
        let rendered = compile(&source).diagnostics.render(&source, false);
        let help = format!("= help: write `{right}`\n");
        assert!(rendered.contains(&help), "{rendered}");
    }
    accepted(
        "policy p { match client in (::/0, 10.0.0.0/8, ::fffe:0:0/95) prefer a }\npolicy z { prefer a }",
    );
}

#[test]
fn policies_say_where_requests_go() {
    refused(
        "policy p { match path /x }\npolicy q { prefer a }",
        &[(1, "policy `p` has no `prefer`")],
    );
    refused(
        "policy p { only a, b prefer nearest(a, c) }",
        &[(1, "`prefer` leads outside `only`: c")],
    );
    refused(
        "policy p { prefer nearest(a, d) }",
        &[(1, "the location of `d` is not known")],
    );
    refused(
        "policy p { prefer nearest(a, b) | a }",
        &[(1, "this tier can never be reached")],
    );
    refused(
        "policy p { prefer local | local }",
        &[(1, "this tier can never be reached")],
    );
    refused(
        "policy p { prefer spread(a, b, c, d) | local }",
        &[(1, "this tier can never be reached")],
    );
    accepted("policy p { only a, b prefer local | nearest(a, b) }");
    accepted("policy p { prefer nearest(a, b) | nearest(b, c) }");
}

#[test]
fn else_local_stays_within_only() {
    refused(
        "policy p { only a, b prefer a else local }",
        &[(1, "`else local` can serve outside the `only`")],
    );
    refused(
        "defaults { else local }\npolicy p { only a, b prefer a }",
        &[(2, "of `defaults` can serve outside")],
    );
    refused(
        "policy p { only a, b prefer a }\nwindow w { every day 01:00-02:00 UTC else local }",
        &[(1, "of window `w` can serve outside")],
    );
    accepted("policy p { only a, b, c, d prefer a else local }");
    accepted("defaults { else local }\npolicy p { only a, b prefer a else 503 }");
}

#[test]
fn the_last_policy_and_no_other_matches_everything() {
    refused("", &[(0, "at least one policy")]);
    refused(
        "policy p { match path /x prefer a }",
        &[(1, "the last policy must match every request")],
    );
    refused(
        "policy p { prefer a }\npolicy q { match path /x prefer a }\npolicy r { prefer a }",
        &[(
            2,
            "policies `q`, `r` can never be reached: `p` before them has no `match`",
        )],
    );
}

#[test]
fn policies_that_no_request_reaches_are_found() {
    let hidden = |first: &str, second: &str| {
        let text = format!(
            "policy p {{ match {first} prefer a }}\npolicy q {{ match {second} prefer a }}\npolicy z {{ prefer a }}"
        );
        refused(
            &text,
            &[(2, "policy `q` can never be reached: policy `p` before it")],
        );
    };
    hidden("path /x", "path /x");
    hidden("path /x*", "path /x");
    hidden("path /x*", "path /x/y/*");
    hidden("path /x/*", "path /x/y*");
    hidden("path /x/*", "path /x/y, /x/z");
    hidden("path /x, /y", "path /y");
    hidden("method in (GET, POST)", "method in (POST)");
    hidden("country in (DE, FR)", "country in (DE) and path /x");
    hidden("continent in (EU)", "country in (DE)");
    hidden(
        "client in (10.0.0.0/8)",
        "client in (10.1.0.0/16, 10.2.0.0/16)",
    );
    hidden("client in (2001:db8::/32)", "client in (2001:db8:1::/48)");
    // All below `::1:0:0:0` but the mapped addresses, which no client has.
    let around: Vec<_> = (0..16)
        .map(|bit| {
            let ones = !(0xffff_u32 >> bit) & 0xffff;
            format!("::{ones:x}:0:0/{}", 81 + bit)
        })
        .collect();
    hidden(
        &format!("client in ({})", around.join(", ")),
        "client in (::/80)",
    );
    hidden("header x", "header x = \"1\"");
    hidden("host A", "host a");
    hidden(
        "path /x and not method in (POST)",
        "path /x and method in (GET)",
    );
    hidden("path /x or path /y", "path /x, /y");
    hidden(
        "not (path /x or method in (GET))",
        "not path /x and not method in (GET)",
    );
    refused(
        "policy p { match method in (GET) prefer a }\npolicy q { match not method in (GET) and path /x prefer a }\n\
         policy r { match path /x prefer a }\npolicy z { prefer a }",
        &[(3, "policies `p`, `q` before it match every request")],
    );
}

#[test]
fn policies_that_some_request_reaches_are_not_found() {
    let open = |first: &str, second: &str| {
        accepted(&format!(
            "policy p {{ match {first} prefer a }}\npolicy q {{ match {second} prefer a }}\npolicy z {{ prefer a }}"
        ));
    };
    open("path /x", "path /x*");
    open("path /x, /x/*, /x-*", "path /x*");
    open("path /x*", "path /*, /y and method in (GET)");
    open("path /x/*", "path /x*");
    open("country in (DE)", "continent in (EU)");
    open("not country in (DE)", "method in (GET)");
    open("continent in (EU, AS, AF, NA, SA, OC, AN)", "path /x");
    open("client in (10.0.0.0/9)", "client in (10.0.0.0/8)");
    open("header x = \"1\"", "header x");
    open("header x = \"1\"", "header x = \"2\"");
    open("header x = \"1\" and header x = \"2\"", "header x = \"1\"");
    open("cookie x", "query x");
    open("method in (GET) and path /x", "method in (GET)");
    open("host a", "host b");
}

#[test]
fn a_condition_that_contradicts_itself_is_found() {
    let never = |condition: &str| {
        let text = format!("policy p {{ match {condition} prefer a }}\npolicy z {{ prefer a }}");
        refused(&text, &[(1, "no request can match its condition")]);
    };
    never("path /x and path /y");
    never("path /x and not path /x*");
    never("method in (GET) and method in (POST)");
    never("country in (DE) and continent in (AS)");
    never("client in (10.0.0.0/8) and client in (192.0.2.0/24)");
    never("host a and host b");
    never("header x = \"1\" and not header x");
    never("query x and not query x");
}

#[test]
fn return_is_stricter_than_leave_in_each_quantity_of_both() {
    let clauses = |leave: &str, comeback: &str| {
        format!("leave when {leave} for 2s return when {comeback} for 2s")
    };
    refused(
        &format!(
            "policy p {{ prefer a {} }}",
            clauses("errors > 2%", "errors < 2%")
        ),
        &[(
            1,
            "`return` is not stricter than `leave`: `errors < 2%` and `errors > 2%`",
        )],
    );
    refused(
        &format!(
            "policy p {{ prefer a {} }}",
            clauses("errors > 2% or lag > 1s", "lag < 2s and errors < 3%")
        ),
        &[
            (1, "`lag < 2s` and `lag > 1s`"),
            (1, "`errors < 3%` and `errors > 2%`"),
        ],
    );
    refused(
        &format!(
            "defaults {{ {} }}\npolicy p {{ prefer a leave when errors > 1% for 2s }}",
            clauses("errors > 4%", "errors < 2%")
        ),
        &[(2, "`errors < 2%` and `errors > 1%`")],
    );
    refused(
        &format!(
            "defaults {{ {} }}\npolicy p {{ prefer a }}\nwindow w {{ every day 01:00-02:00 UTC leave when errors > 1% for 2s }}",
            clauses("errors > 4%", "errors < 2%")
        ),
        &[(3, "`errors < 2%` and `errors > 1%`")],
    );
    let windows = |hours: &str| {
        format!(
            "defaults {{ {} }}\npolicy p {{ prefer a }}\nwindow w {{ every day 01:00-02:00 UTC leave when errors > 3% for 2s }}\n\
             window v {{ every day {hours} UTC return when errors < 3% for 2s }}",
            clauses("errors > 4%", "errors < 2%")
        )
    };
    refused(
        &windows("01:30-03:00"),
        &[(4, "`errors < 3%` and `errors > 3%`")],
    );
    accepted(&windows("02:00-03:00"));
    accepted(&format!(
        "policy p {{ prefer a {} }}",
        clauses("errors > 2%", "lag < 2s")
    ));
    warned(
        "policy p { prefer a leave when errors > 2% for 2s }",
        "no clause defines when a region that has left returns",
    );
}

#[test]
fn windows_say_when_and_what_and_only_one_thing() {
    let window = |window: &str, wrong: &str| {
        refused(
            &format!("policy p {{ prefer a | b }}\nwindow w {{ {window} }}"),
            &[(2, wrong)],
        );
    };
    window("drain a", "window `w` is never open");
    window("every day 01:00-02:00 UTC", "window `w` does nothing");
    window(
        "every day 01:00-02:00 UTC drain a else 503",
        "both drains and replaces a clause",
    );
    window(
        "every day 01:00-01:00 UTC drain a",
        "`01:00-01:00` is not a period",
    );
    window(
        "every day 01:00-24:00 UTC drain a",
        "`01:00-24:00` is not a period",
    );
    window(
        "every sun 01:00-02:00 UTC drain a",
        "`sun` is not a day of the week",
    );
    window(
        "every day, day 01:00-02:00 UTC drain a",
        "`day` is in this list twice",
    );
    window(
        "every day 01:00-02:00 Europe/Berln drain a",
        "`Europe/Berln` is not a time zone",
    );
    window(
        "every day 01:00-02:00 europe/berlin drain a",
        "`europe/berlin` is not a time zone",
    );
    window(
        "from 2026-12-31T22:00Z to 2026-12-31T22:00Z drain a",
        "this period ends before it begins",
    );
    window(
        "from 2026-12-31 to 2026-12-31T22:00Z drain a",
        "`2026-12-31` is not an instant",
    );
    window(
        "every day 01:00-02:00 UTC drain a, b",
        "window `w` drains every region of policy `p`",
    );
}

#[test]
fn nothing_follows_from_a_window_that_is_refused() {
    for (window, wrong) in [
        (
            "drain a require survive 1",
            "both drains and replaces a clause",
        ),
        ("drain a, b", "drains every region of policy `p`"),
        ("drain a drain b", "this block has `drain` twice"),
    ] {
        let window = format!("window w {{ every day 01:00-02:00 UTC {window} }}");
        let all = found(&format!("{REGIONS}policy p {{ prefer a | b }}\n{window}"));
        assert_eq!(all.len(), 1, "{all:#?}");
        assert!(all[0].1.contains(wrong), "{all:#?}");
    }
}

/// Two windows with these periods and effects, the second one on line 3.
fn two_windows(periods: [&str; 2], effects: [&str; 2]) -> String {
    let ([one, other], [first, second]) = (periods, effects);
    format!(
        "policy p {{ prefer a | b }}\nwindow w {{ {one} {first} }}\nwindow v {{ {other} {second} }}"
    )
}

#[test]
fn drains_of_windows_that_can_be_open_together_add_up() {
    let long = "from 2099-01-05T00:00Z to 2099-01-06T00:00Z";
    let berlin = "every day 12:00-13:00 Europe/Berlin";
    for (periods, together) in [
        (
            ["every day 01:00-03:00 UTC", "every day 02:00-04:00 UTC"],
            true,
        ),
        (
            ["every day 01:00-02:00 UTC", "every day 02:00-04:00 UTC"],
            false,
        ),
        (
            ["every day 23:00-01:00 UTC", "every monday 00:30-04:00 UTC"],
            true,
        ),
        (
            [
                "every monday 01:00-03:00 UTC",
                "every tuesday 02:00-04:00 UTC",
            ],
            false,
        ),
        // New York's clocks change three weeks before Berlin's.
        ([berlin, "every day 07:00-07:30 America/New_York"], true),
        ([berlin, "every day 08:30-09:00 America/New_York"], false),
        // London's and Berlin's change at the same instant.
        ([berlin, "every day 12:00-13:00 Europe/London"], false),
        ([long, "every monday 10:00-11:00 UTC"], true),
        ([long, "every tuesday 10:00-11:00 UTC"], false),
    ] {
        let wrong = (
            3,
            "window `v`, together with others that are open then, drains every region",
        );
        let expected = if together { &[wrong][..] } else { &[] };
        refused(&two_windows(periods, ["drain a", "drain b"]), expected);
    }
    refused(
        "policy p { only a, b prefer local }\nwindow w { every day 01:00-02:00 UTC drain a }",
        &[(
            2,
            "drains every region of policy `p` for requests that enter in a",
        )],
    );
}

#[test]
fn windows_that_can_be_open_together_replace_different_clauses() {
    let overlapping = ["every day 01:00-03:00 UTC", "every day 02:00-04:00 UTC"];
    refused(
        &two_windows(overlapping, ["else 500", "else 501"]),
        &[(3, "windows `w` and `v` overlap and both replace `else`")],
    );
    accepted(&two_windows(overlapping, ["else 500", "panic below 5%"]));
    let apart = ["every day 01:00-02:00 UTC", "every day 02:00-04:00 UTC"];
    accepted(&two_windows(apart, ["else 500", "else 501"]));
}

#[test]
fn losing_a_region_leaves_one() {
    warned(
        "policy p { prefer a }",
        "losing a leaves policy `p` no region",
    );
    warned(
        "policy p { only a prefer local }",
        "policy `p` has no region for requests that enter in b, even with every region well",
    );
    refused(
        "policy p { prefer a | b require survive 2 }",
        &[(1, "losing a, b leaves policy `p` no region")],
    );
    refused(
        "defaults { require survive 2 }\npolicy p { prefer a | b }",
        &[(2, "losing a, b leaves policy `p` no region")],
    );
    let quiet = |text: &str| assert_eq!(found(&format!("{REGIONS}{text}")), []);
    quiet("policy p { prefer a | b }");
    quiet("policy p { prefer local }");
    quiet("policy p { prefer spread(a, b, c) require survive 2 }");
    warned(
        "policy p { prefer a | b }\nwindow w { every day 01:00-02:00 UTC drain a }",
        "losing b leaves policy `p` no region, while `w` is open",
    );
}

#[test]
fn what_a_window_requires_is_required_of_policies_that_fail_outside_it_too() {
    let window = |clause: &str| {
        format!("policy p {{ prefer a }}\nwindow w {{\nevery day 01:00-02:00 UTC\n{clause}\n}}")
    };
    let wrong = "losing a leaves policy `p` no region, while `w` is open";
    refused(&window("require survive 1"), &[(4, wrong)]);
    warned(
        &window("panic below 5%"),
        "losing a leaves policy `p` no region",
    );
    // Each policy has one error, at what asks for it.
    refused(
        "policy p { match path /x prefer a require survive 1 }\npolicy q { prefer b }\n\
         window w {\nevery day 01:00-02:00 UTC\nrequire survive 2\n}",
        &[
            (1, "losing a leaves policy `p` no region"),
            (5, "losing b leaves policy `q` no region, while `w` is open"),
        ],
    );
}

#[test]
fn what_is_left_is_not_asked_for_more_than_its_capacity() {
    let check = |loads: [u32; 3], prefer: &str, expected: &[&str]| {
        let [a, b, c] = loads;
        let regions = format!(
            "region a at 50, 0 capacity 100 rps load {a} rps\nregion b at 50, 10 capacity 100 rps load {b} rps\n\
             region c at 40, -75 capacity 150 rps load {c} rps\n"
        );
        let policy = format!("policy p {{ prefer {prefer} require survive 1 }}");
        let expected: Vec<_> = expected.iter().map(|title| (1, *title)).collect();
        refused_after(&regions, &policy, &expected);
    };
    let near = "nearest(a, b, c)";
    check([50, 50, 50], near, &[]);
    check(
        [60, 50, 50],
        near,
        &["losing a makes policy `p` send b 110 rps, above its capacity of 100"],
    );
    check(
        [101, 0, 0],
        near,
        &["policy `p` sends a 101 rps, above its capacity of 100, even with every region well"],
    );
    check(
        [50, 50, 51],
        "a | nearest(b, c)",
        &["sends a 151 rps, above its capacity of 100, even with every region well"],
    );
    check(
        [60, 60, 60],
        "weighted(a 1, b 1, c 2)",
        &["losing c makes policy `p` send a 90 rps"; 0],
    );
    check(
        [70, 70, 70],
        "weighted(a 1, b 1, c 2)",
        &["losing c makes policy `p` send a 105 rps, above its capacity of 100"],
    );
    check(
        [70, 70, 70],
        "spread(a, b, c)",
        &["losing a makes policy `p` send b 105 rps, above its capacity of 100"],
    );
    check([50, 50, 50], "local | nearest(a, b, c)", &[]);
    check(
        [60, 50, 50],
        "local | nearest(a, b, c)",
        &["losing a makes policy `p` send b 110 rps, above its capacity of 100"],
    );
}

#[test]
fn a_file_has_so_many_parts_and_no_more() {
    let policies: String = (0..257)
        .map(|n| format!("policy p{n} {{ match path /{n} prefer a | b }}\n"))
        .collect();
    refused(&policies, &[(257, "a file can have at most 256 policies")]);
    let regions: String = (0..61).map(|n| format!("region r{n}\n")).collect();
    refused(
        &format!("{regions}policy p {{ prefer a | b }}"),
        &[(61, "a policy file can have at most 64 regions")],
    );
    let windows: String = (0..65)
        .map(|n| format!("window w{n} {{ every day 01:00-02:00 UTC drain c }}\n"))
        .collect();
    refused(
        &format!("{windows}policy p {{ prefer a | b }}"),
        &[(65, "a file can have at most 64 windows")],
    );
}
