//! Tests of the givens, expectations and proofs of a policy's tests.

use crate::compile;
use crate::syntax::Source;

const POLICY: &str = "\
region us-east-1
region eu-west-1
region eu-central-1
region ap-southeast-1
group eu = eu-west-1, eu-central-1
defaults {
  leave  when errors > 2% or p99 > 400ms or lag > 5s for 2s
  return when errors < 0.5% and p99 < 250ms for 60s ramp 5m
  panic  below 50%
}
policy residency {
  match  country in (DE, FR) and path /account/*
  only   eu
  prefer nearest(eu)
}
policy checkout {
  match  path /api/* and method in (POST)
  prefer us-east-1 | nearest(eu)
  panic  below 0%
  else   504
}
policy sticky {
  match  cookie sid or header x-device = \"tv\" or query beta or host beta.example
  prefer spread(us-east-1, eu, ap-southeast-1)
  affinity cookie sid else client /24
}
policy everything { prefer local | nearest(us-east-1, eu, ap-southeast-1) else local }
window maintenance { every sunday 02:00-03:00 Europe/Berlin drain eu-central-1 }
";

/// Returns the message of a failing test; nothing if it passes.
#[track_caller]
fn outcome(test: &str) -> Option<String> {
    let text = format!("{POLICY}test \"t\" {{ {test} }}");
    let source = Source::new("x.policy", text.as_bytes());
    let compiled = compile(&source);
    let rendered = compiled.diagnostics.render(&source, false);
    assert_eq!(compiled.tests.len(), 1, "{rendered}");
    let failure = compiled.tests[0].failure.as_ref()?;
    assert_eq!(compiled.diagnostics.errors(), 1);
    Some(failure.title.clone())
}

#[track_caller]
fn passes(test: &str) {
    assert_eq!(outcome(test), None, "{test}");
}

#[track_caller]
fn fails(test: &str, instead: &str) {
    let title = outcome(test).expect(test);
    assert!(title.contains(instead), "{test}\n{title}");
}

/// Returns the titles of the errors of a test that cannot be run.
#[track_caller]
fn refused(test: &str, expected: &str) {
    let text = format!("{POLICY}test \"t\" {{ {test} }}");
    let source = Source::new("x.policy", text.as_bytes());
    let compiled = compile(&source);
    let rendered = compiled.diagnostics.render(&source, false);
    assert!(
        compiled.plan.is_none() && compiled.diagnostics.errors() == 1,
        "{rendered}"
    );
    assert!(rendered.contains(expected), "{rendered}");
}

#[test]
fn what_is_left_out_is_the_first_region_and_a_get_of_the_root() {
    passes("given path / expect us-east-1 by everything because local");
    passes("given method GET expect local");
    fails(
        "given path / expect eu-west-1",
        "got us-east-1 by `everything` because local",
    );
    fails(
        "given path / expect us-east-1 by checkout",
        "got us-east-1 by `everything` because local",
    );
    fails(
        "given path / expect us-east-1 because nearest",
        "because local",
    );
}

#[test]
fn a_request_is_as_it_is_given() {
    passes("given country DE, path /account/x, at 52.5 13.4 expect eu-central-1 by residency");
    passes("given country DE, path /account/x, in eu-west-1 expect eu-west-1 because nearest");
    passes("given country DE, path /accounts expect us-east-1 by everything");
    passes(
        "given method POST, path /api/v1 expect us-east-1 then eu-west-1 then eu-central-1 by checkout because named",
    );
    fails(
        "given method POST, path /api/v1 expect us-east-1 then eu-central-1",
        "got us-east-1 then eu-west-1 by `checkout`",
    );
    for given in [
        "cookie sid = \"7\"",
        "header X-Device = \"tv\"",
        "query beta = \"a b&c\"",
        "host BETA.example",
    ] {
        assert!(
            outcome(&format!("given {given} expect else"))
                .unwrap()
                .contains("by `sticky` because spread")
        );
    }
    passes(
        "given in eu-west-1, header x-region-hint = \"nowhere, ap-southeast-1\" expect eu-west-1",
    );
    passes(
        "given country FR, path /account/, header x-region-hint = \"us-east-1, eu-central-1\" expect eu-central-1",
    );
    // The lines of a list are one list.
    passes(
        "given country FR, path /account/, header x-region-hint = \"mars\", header x-region-hint = \"eu-central-1\" expect eu-central-1",
    );
}

#[test]
fn the_state_of_regions_is_as_it_is_given() {
    passes("given us-east-1 left expect eu-west-1 because left");
    passes("given us-east-1 drained expect eu-west-1 because draining");
    passes("given us-east-1 unreachable expect eu-west-1 because left");
    passes("given us-east-1 errors 2.1% expect eu-west-1 because left");
    passes("given us-east-1 errors 2% expect us-east-1");
    passes("given us-east-1 p99 401ms expect eu-west-1");
    passes("given us-east-1 lag 6s expect eu-west-1");
    passes("given us-east-1 saturation 100% expect us-east-1");
    passes("given us-east-1 ramp 0% expect eu-west-1 because ramping");
    passes("given us-east-1 ramp 100% expect us-east-1 because local");
    passes(
        "given method POST, path /api/x, us-east-1 left, eu-west-1 left, eu-central-1 left expect else by checkout because else",
    );
    passes(
        "given method POST, path /api/x, us-east-1 drained, eu-west-1 drained, eu-central-1 drained expect else",
    );
    fails(
        "given method POST, path /api/x, us-east-1 left, eu-west-1 left, eu-central-1 left expect us-east-1",
        "got else 504 by `checkout` because else",
    );
    passes(
        "given country DE, path /account/, eu-west-1 left, eu-central-1 left expect eu-west-1 because panic",
    );
    passes(
        "given us-east-1 unreachable, eu-west-1 unreachable, eu-central-1 drained, ap-southeast-1 drained expect local because else",
    );
}

#[test]
fn windows_are_open_at_their_time_only() {
    let at = |time: &str| format!("given in eu-central-1, time {time} expect");
    passes(&format!("{} eu-central-1", at("2026-07-05T02:30Z")));
    passes(&format!(
        "{} eu-west-1 because draining",
        at("2026-07-05T00:30Z")
    ));
    passes(&format!("{} eu-west-1", at("2026-07-05T02:30+02:00")));
    passes(&format!("{} eu-central-1", at("2026-07-05T03:00+02:00")));
    // 02:00 to 03:00 does not exist on this day: it becomes 03:00 to 03:00, which is empty.
    passes(&format!("{} eu-central-1", at("2026-03-29T01:00Z")));
}

#[test]
fn a_timeline_goes_on_until_the_request() {
    passes("given after 0s us-east-1 errors 10% expect us-east-1");
    passes(
        "given after 0s us-east-1 errors 10%, after 1999ms us-east-1 errors 10% expect us-east-1",
    );
    passes(
        "given after 0s us-east-1 errors 10%, after 2s us-east-1 errors 10% expect eu-west-1 because left",
    );
    passes(
        "given after 0s us-east-1 errors 10%, after 1s us-east-1 errors 0%, after 30s us-east-1 errors 0% expect us-east-1",
    );
    // A given without a time has held for long before the first one.
    passes(
        "given us-east-1 errors 10%, after 0s us-east-1 errors 0% expect eu-west-1 because left",
    );
    // Between the two bounds nothing changes.
    passes("given us-east-1 errors 1% expect us-east-1");
    passes(
        "given us-east-1 errors 10%, after 1s us-east-1 errors 1%, after 2h us-east-1 errors 1% expect eu-west-1 because left",
    );
    passes(
        "given us-east-1 errors 10%, after 1s us-east-1 errors 0%, after 60s us-east-1 errors 0% expect eu-west-1 because left",
    );
    passes(
        "given us-east-1 errors 10%, after 1s us-east-1 errors 0%, after 61s us-east-1 errors 0% expect eu-west-1 because ramping",
    );
    passes(
        "given us-east-1 errors 10%, after 1s us-east-1 errors 0%, after 361s us-east-1 errors 0% expect us-east-1",
    );
    passes("given after 1s us-east-1 drained expect eu-west-1 because draining");
    passes("given after 1s us-east-1 unreachable, after 1s eu-west-1 left expect eu-central-1");
}

#[test]
fn never_is_proven_for_all_that_is_left_open() {
    passes("given country DE, path /account/x expect never us-east-1, ap-southeast-1");
    fails(
        "given country DE expect never us-east-1",
        "it could not be proven that policy `checkout` sends no such request to us-east-1",
    );
    fails(
        "given country DE, method GET expect never us-east-1",
        "it could not be proven that policy `sticky` sends no such request to us-east-1",
    );
    fails(
        "given path /account/x expect never us-east-1",
        "it could not be proven that policy `sticky` sends no such request to us-east-1",
    );
    passes("given country FR, path /account/x, eu-west-1 unreachable expect never eu-west-1");
    passes("given country FR, path /account/x, eu-west-1 drained expect never eu-west-1");
    // `panic` could bring it back.
    fails(
        "given country FR, path /account/x, eu-west-1 left expect never eu-west-1",
        "policy `residency`",
    );
    passes(
        "given method POST, path /api/x, country US, us-east-1 left expect never us-east-1, ap-southeast-1",
    );
    // A quantity that is given has held for long; how much load the others have room for is open.
    passes("given method POST, path /api/x, us-east-1 errors 10% expect never us-east-1");
    passes("given method POST, path /api/x, us-east-1 lag 10s expect never us-east-1");
    fails(
        "given method POST, path /api/x, us-east-1 errors 1% expect never us-east-1",
        "sends no such request to us-east-1",
    );
    fails(
        "given method POST, path /api/x, us-east-1 p99 9s expect never us-east-1",
        "sends no such request to us-east-1",
    );
    fails(
        "given country FR, path /account/x, eu-west-1 errors 10% expect never eu-west-1",
        "sends no such request to eu-west-1",
    );
    // The last state of a timeline counts.
    let post = "given method POST, path /api/x, after 0s us-east-1";
    passes(&format!(
        "{post} left, after 9s us-east-1 errors 0% expect never us-east-1"
    ));
    fails(
        &format!("{post} left, after 9s us-east-1 ramp 100% expect never us-east-1"),
        "sends no such request to us-east-1",
    );
    fails(
        &format!(
            "{post} errors 10%, after 99s us-east-1 errors 0%, after 999s us-east-1 errors 0% expect never us-east-1"
        ),
        "sends no such request to us-east-1",
    );
    passes("given country DE, path /account/x, time 2026-07-05T00:30Z expect never eu-central-1");
    fails(
        "given country DE, path /account/x, time 2026-07-05T02:30Z expect never eu-central-1",
        "eu-central-1",
    );
}

#[test]
fn never_takes_no_tier_after_one_with_a_region_that_is_given_as_well() {
    let post = "given method POST, path /api/x,";
    passes(&format!("{post} us-east-1 errors 0% expect never eu"));
    passes(&format!(
        "{post} us-east-1 p99 200ms, us-east-1 lag 1s expect never eu"
    ));
    passes(&format!("{post} us-east-1 ramp 100% expect never eu"));
    // Its tier still counts, and so do those before it.
    for (given, region) in [
        ("us-east-1 errors 0%", "us-east-1"),
        ("eu-west-1 errors 0%", "us-east-1"),
        ("eu-west-1 errors 0%", "eu-central-1"),
        // It may leave, has left, comes back, or is drained at times.
        ("us-east-1 p99 300ms", "eu-west-1"),
        ("us-east-1 errors 3%", "eu-west-1"),
        ("us-east-1 left", "eu-west-1"),
        ("us-east-1 drained", "eu-west-1"),
        ("us-east-1 unreachable", "eu-west-1"),
        ("us-east-1 ramp 99%", "eu-west-1"),
        (
            "us-east-1 errors 10%, after 0s us-east-1 errors 0%, after 61s us-east-1 errors 0%",
            "eu-west-1",
        ),
    ] {
        let expected = format!("sends no such request to {region}");
        fails(&format!("{post} {given} expect never {region}"), &expected);
    }
    passes(&format!(
        "{post} us-east-1 errors 10%, after 0s us-east-1 errors 0%, after 361s us-east-1 errors 0% expect never eu"
    ));
}

#[test]
fn never_takes_a_region_for_well_only_if_no_window_drains_it() {
    let failures = |window: &str| {
        let text = format!(
            "region a region b policy p {{ prefer a | b else local }} {window} \
             test \"t\" {{ given in b, a errors 0% expect never b }}"
        );
        let source = Source::new("x.policy", text.as_bytes());
        let compiled = compile(&source);
        assert_eq!(compiled.tests.len(), 1);
        compiled.diagnostics.errors()
    };
    assert_eq!(failures(""), 0);
    let window = |effect| format!("window w {{ every day 01:00-02:00 UTC {effect} }}");
    assert_eq!(failures(&window("drain b")), 0);
    // It may be open, or have just ended.
    assert_eq!(failures(&window("drain a")), 1);
}

#[test]
fn never_takes_a_mapped_client_for_the_ipv4_client_that_it_is() {
    let failures = |condition: &str, expected: &str| {
        let text = format!(
            "region a region b policy p {{ match client in ({condition}) prefer b | a }} policy z {{ prefer a | b }} \
             test \"t\" {{ given client ::ffff:10.0.0.1, a errors 0%, b errors 0% expect {expected} }}"
        );
        let source = Source::new("x.policy", text.as_bytes());
        let compiled = compile(&source);
        let rendered = compiled.diagnostics.render(&source, false);
        assert_eq!(compiled.tests.len(), 1, "{rendered}");
        compiled.diagnostics.errors()
    };
    for condition in ["10.0.0.0/8", "0.0.0.0/0"] {
        assert_eq!(failures(condition, "b by p"), 0);
        assert_eq!(failures(condition, "never b"), 1);
        assert_eq!(failures(condition, "never a"), 0);
    }
    for condition in ["::/0", "::fffe:0:0/95"] {
        assert_eq!(failures(condition, "a by z"), 0);
        assert_eq!(failures(condition, "never a"), 1);
        assert_eq!(failures(condition, "never b"), 0);
    }
}

#[test]
fn a_test_that_makes_no_sense_is_refused() {
    refused("given in eu expect eu-west-1", "`eu` is a group");
    refused(
        "given country XX expect eu-west-1",
        "`XX` is not a country's code",
    );
    refused(
        "given path account expect eu-west-1",
        "`account` is not a path",
    );
    refused(
        "given path /a, path /b expect eu-west-1",
        "`path` is given twice",
    );
    refused("given client x expect eu-west-1", "`x` is not an address");
    refused("given header x = \" tv\" expect local", "write `tv`");
    refused(
        "given cookie sid = \"b;c\" expect local",
        "`b;c` is not a value that a cookie can have",
    );
    refused(
        "given eu-west-2 left expect eu-west-1",
        "`eu-west-2` is neither a declared region nor",
    );
    refused(
        "given path / expect eu-west-2",
        "there is no region or group named `eu-west-2`",
    );
    refused(
        "given path / expect eu-west-1 by evrything",
        "did you mean `everything`?",
    );
    refused(
        "given path / expect eu-west-1 because hop",
        "`hop` is not a reason that a decision has",
    );
    refused(
        "given after 2s us-east-1 left, after 1s eu-west-1 left expect local",
        "this time is before that of the previous fact",
    );
    refused(
        "given countri DE expect eu-west-1",
        "did you mean `country`?",
    );
    refused(
        "given us-east-1 lft expect eu-west-1",
        "did you mean `left`?",
    );
    refused(
        "given country DE, expect eu-west-1",
        "remove the comma before it",
    );
    refused("given path /", "has no `expect`");
    refused("expect local", "has no `given`");
    refused(
        "given path / expect local expect local",
        "has `expect` twice",
    );
}

#[test]
fn two_states_of_a_region_at_a_time_are_refused() {
    for given in [
        "us-east-1 left, us-east-1 ramp 100%",
        "us-east-1 errors 1%, us-east-1 errors 2%",
        "after 1s us-east-1 drained, after 1s us-east-1 drained",
    ] {
        let text = format!("{POLICY}test \"t\" {{ given {given} expect us-east-1 }}");
        let source = Source::new("x.policy", text.as_bytes());
        let rendered = compile(&source).diagnostics.render(&source, false);
        assert!(
            rendered.contains("`us-east-1` is given twice"),
            "{rendered}"
        );
    }
    passes("given us-east-1 errors 1%, us-east-1 lag 1s, eu-west-1 errors 1% expect us-east-1");
}
