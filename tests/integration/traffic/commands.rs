//! `tidegate policy`, through the binary.

use std::process::Output;

use tempfile::TempDir;
use tidegate::testkit::GatewayCommand;
use tidegate_traffic::syntax::Source;

use crate::world::BINARY;

const POLICY: &str = "\
region us-east-1
region eu-west-1  # Ireland

policy everything {
  prefer  nearest(us-east-1, eu-west-1)
}

test \"Ireland\" {
  given   at 53.3 -6.3
  expect  eu-west-1
}
";

/// A policy file in its own folder.
struct Policy {
    folder: TempDir,
}

impl Policy {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("traffic.policy"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> String {
        self.folder
            .path()
            .join("traffic.policy")
            .display()
            .to_string()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// Runs a command on the file.
    async fn run(&self, arguments: &[&str]) -> Outcome {
        self.ended(self.command(arguments)).await
    }

    fn command(&self, arguments: &[&str]) -> GatewayCommand {
        let command = GatewayCommand::new(BINARY, "policy");
        let command = arguments
            .iter()
            .fold(command, |command, argument| command.arg(argument));
        command.arg(self.path())
    }

    async fn ended(&self, command: GatewayCommand) -> Outcome {
        Outcome::new(command.output().await.unwrap(), &self.path())
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    /// Replaces the file's name by `FILE`.
    fn new(output: Output, path: &str) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(path, "FILE");
        Self {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

#[tokio::test]
async fn check_says_what_a_good_file_has() {
    let outcome = Policy::new(POLICY).run(&["check"]).await;
    let expected = "FILE: 2 regions, 1 policy, 1 test passed\n";
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, expected),
        "{outcome:?}"
    );
    assert_eq!(outcome.stderr, "");
}

#[tokio::test]
async fn check_shows_each_error_with_its_line_and_exits_with_2() {
    let outcome = Policy::new(&POLICY.replace("nearest(us-east-1", "nearest(us-east-2"))
        .run(&["check"])
        .await;
    let expected = "\
error: there is no region or group named `us-east-2`
 --> FILE:5:19
  |
5 |   prefer  nearest(us-east-2, eu-west-1)
  |                   ^^^^^^^^^
  |
  = help: did you mean `us-east-1`?

tidegate: FILE: 1 error
";
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
    assert_eq!(outcome.stderr, expected);
}

#[tokio::test]
async fn a_warning_is_shown_and_exits_with_0() {
    let outcome = Policy::new("region a\npolicy p { prefer a }\n")
        .run(&["check"])
        .await;
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "FILE: 1 region, 1 policy, 1 warning\n")
    );
    assert!(
        outcome
            .stderr
            .starts_with("warning: losing a leaves policy `p` no region\n"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_failing_test_exits_with_1_by_itself_and_with_2_at_check() {
    let policy = Policy::new(&POLICY.replace("expect  eu-west-1", "expect  us-east-1"));
    let outcome = policy.run(&["test"]).await;
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (1, "FAILED Ireland\n")
    );
    let failure = "error: test `Ireland` failed: got eu-west-1 by `everything` because nearest\n  --> FILE:10:3\n";
    assert!(outcome.stderr.starts_with(failure), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .ends_with("tidegate: FILE: 1 of 1 tests failed\n"),
        "{outcome:?}"
    );
    let outcome = policy.run(&["check"]).await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.starts_with(failure), "{outcome:?}");
    let outcome = Policy::new(POLICY).run(&["test"]).await;
    assert_eq!(
        (
            outcome.code,
            outcome.stdout.as_str(),
            outcome.stderr.as_str()
        ),
        (0, "ok     Ireland\n", "")
    );
    let outcome = Policy::new("policy").run(&["test"]).await;
    assert_eq!(outcome.code, 2);
}

#[tokio::test]
async fn fmt_rewrites_a_file_once_and_keeps_its_comments() {
    let policy = Policy::new(&POLICY.replace("\n  ", "  ").replace('\n', "\r\n"));
    let outcome = policy.run(&["fmt", "--check"]).await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let changed = "{\"changed\":true,\"file\":\"FILE\"}\n";
    let outcome = policy.run(&["fmt", "--check", "--json"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, changed));
    let outcome = policy.run(&["fmt"]).await;
    assert_eq!(
        (
            outcome.code,
            outcome.stdout.as_str(),
            outcome.stderr.as_str()
        ),
        (0, "", "")
    );
    assert_eq!(policy.text(), POLICY);
    assert_eq!(policy.run(&["fmt", "--check"]).await.code, 0);
    let outcome = policy.run(&["fmt", "--json"]).await;
    let same = changed.replace("true", "false");
    assert_eq!((outcome.code, outcome.stdout), (0, same));
    let broken = Policy::new("policy p {");
    assert_eq!(broken.run(&["fmt"]).await.code, 2);
    assert_eq!(broken.text(), "policy p {");
}

#[tokio::test]
async fn show_resolves_groups_and_fills_in_defaults() {
    let text = format!(
        "group all = us-east-1, eu-west-1\ndefaults {{ else 504 require survive 1 }}\n{POLICY}"
    )
    .replace("nearest(us-east-1, eu-west-1)", "spread(all)");
    let text = text.split("test").next().unwrap();
    let policy = Policy::new(text);
    let outcome = policy.run(&["show"]).await;
    let expected = "\
region eu-west-1 at 53.3, -6.3
region us-east-1 at 39, -77.5

policy everything
  prefer   spread(eu-west-1, us-east-1)
  retry    never
  panic    below 0%
  else     504
  require  survive 1
";
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, expected));
    let outcome = policy.run(&["show", "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        shown["policies"][0]["prefer"][0],
        "spread(eu-west-1, us-east-1)"
    );
    assert_eq!(shown["policies"][0]["else"], "504");
    assert_eq!(shown["regions"][1]["region"], "us-east-1");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_exits_with_2() {
    let policy = Policy::new("");
    std::fs::remove_file(policy.path()).unwrap();
    for command in [
        &["check"][..],
        &["test"],
        &["fmt"],
        &["fmt", "--check"],
        &["show"],
    ] {
        let outcome = policy.run(command).await;
        assert_eq!(outcome.code, 2, "{command:?}");
        assert!(
            outcome.stderr.starts_with("tidegate: FILE: "),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn any_bytes_are_refused_and_exit_with_2() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("traffic.policy");
    for bytes in [
        &b"\xff\xfe\x00"[..],
        &b"(".repeat(256 * 1024),
        &b"x".repeat(1 << 20),
        &[0; 100],
    ] {
        std::fs::write(&path, bytes).unwrap();
        let path = path.display().to_string();
        let output = GatewayCommand::new(BINARY, "policy")
            .arg("check")
            .arg(&path)
            .output()
            .await
            .unwrap();
        let outcome = Outcome::new(output, &path);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.stderr.contains(" --> FILE:1:"), "{outcome:?}");
    }
}

/// Two policies, one of them for accounts.
const TWO: &str = "\
region eu-west-1
region us-east-1

policy accounts {
  match   path /account/* and country in (IE)
  only    eu-west-1
  prefer  eu-west-1
}

policy everything {
  prefer  nearest(eu-west-1, us-east-1)
}

window maintenance {
  every   sunday 02:00-03:00 Europe/Dublin
  drain   us-east-1
}
";

#[tokio::test]
async fn explain_says_which_policy_decided_and_why_the_others_did_not() {
    let policy = Policy::new(TWO);
    let request = ["explain", "GET", "/account/1", "--country", "FR"];
    let given = ["--at", "38.9,-77.0", "--region", "eu-west-1"];
    let state = ["--region-state", "us-east-1=left"];
    let time = ["--time", "2026-07-06T12:00Z", "--policy"];
    let outcome = policy
        .run(&[&request[..], &given, &state, &time].concat())
        .await;
    let expected = "\
region    eu-west-1
policy    everything
proposed  us-east-1
standbys  none
reason    left

POLICIES, in the order in which they are tried
accounts             does not match: country in (IE)
everything           matches

TIERS of everything
nearest(eu-west-1, us-east-1)

FACTS
entered in           eu-west-1
windows open         none
us-east-1            left

NEXT HOP
none: it is served where it entered
";
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, expected));
    let window = ["--time", "2026-07-05T02:30+01:00", "--json", "--policy"];
    let outcome = policy.run(&[&request[..], &given, &window].concat()).await;
    let explained: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(explained["reason"], "draining");
    assert_eq!(explained["windows"][0], "maintenance");
}

#[tokio::test]
async fn explain_reads_a_request_as_a_gateway_does() {
    let text = "region eu-west-1\nregion us-east-1\n\
                policy beta {\n  match host h.example\n  prefer us-east-1\n}\n\
                policy all {\n  prefer nearest(eu-west-1, us-east-1)\n  else 502\n}\n";
    let policy = Policy::new(text);
    let explained = async |arguments: &[&str]| {
        let arguments = [arguments, &["--json", "--policy"]].concat();
        let outcome = policy.run(&arguments).await;
        serde_json::from_str::<serde_json::Value>(&outcome.stdout).expect(&outcome.stderr)
    };
    for request in [
        &["explain", "GET", "http://h.example/x"][..],
        &[
            "explain",
            "GET",
            "http://H.example:80/x",
            "-H",
            "host: other",
        ],
        &["explain", "GET", "/x", "-H", "host: h.example"],
    ] {
        assert_eq!(explained(request).await["policy"], "beta", "{request:?}");
    }
    let hints = [
        "-H",
        "x-region-hint: mars",
        "-H",
        "x-region-hint: us-east-1",
    ];
    let hinted = [&["explain", "GET", "/x"][..], &hints[..]].concat();
    let hinted = explained(hinted.as_slice()).await;
    assert_eq!(hinted["region"], "us-east-1");
    let lost = ["eu-west-1=left", "us-east-1=unreachable"];
    let lost = lost.map(|state| ["--region-state", state]).concat();
    let refused = [&["explain", "GET", "/x"][..], &lost[..]].concat();
    let refused = explained(refused.as_slice()).await;
    assert_eq!(refused["region"], serde_json::Value::Null);
    assert_eq!(refused["status"], 502);
}

#[tokio::test]
async fn explain_names_all_addresses_of_the_next_hop() {
    let policy = Policy::new(TWO);
    let config = policy.folder.path().join("tidegate.toml");
    let peer = |host| format!("{{ region = \"us-east-1\", address = \"{host}.internal:8443\" }}");
    let peers = ["us-1", "us-2"].map(peer).join(", ");
    let request = ["explain", "GET", "/", "--at", "38.9,-77.0"];
    let arguments = [&request[..], &["--region", "eu-west-1", "--policy"]].concat();
    // Where an operator asks, there need be no listener.
    for listen in ["listen = \"127.0.0.1:8443\"\n", ""] {
        std::fs::write(&config, format!("[fleet]\n{listen}peers = [{peers}]\n")).unwrap();
        let with_peers = policy
            .command(&arguments)
            .env("TIDEGATE_CONFIG", config.clone());
        let outcome = policy.ended(with_peers).await;
        assert!(
            outcome
                .stdout
                .ends_with("NEXT HOP\nus-1.internal:8443, us-2.internal:8443\n"),
            "{outcome:?}"
        );
    }
    let outcome = policy.run(&arguments).await;
    let none = "NEXT HOP\nnone: [fleet] peers lists no address for us-east-1\n";
    assert!(outcome.stdout.ends_with(none), "{outcome:?}");
}

#[tokio::test]
async fn explain_refuses_what_it_cannot_read_and_says_what_would_be_right() {
    let policy = Policy::new(TWO);
    for (given, expected) in [
        (
            &["--client", "home"][..],
            "--client = \"home\": expected an IP address",
        ),
        (
            &["--country", "Ireland"],
            "--country = \"Ireland\": expected two letters",
        ),
        (
            &["--country", "XX"],
            "--country = \"XX\": there is no country with this code",
        ),
        (
            &[
                "--region-state",
                "eu-west-1=left",
                "--region-state",
                "eu-west-1=ramp:30%",
            ],
            "another state was given for eu-west-1",
        ),
        (
            &["--at", "91,0"],
            "--at = \"91,0\": expected LATITUDE,LONGITUDE",
        ),
        (
            &["--region", "mars"],
            "--region = \"mars\": the policy declares no such region",
        ),
        (
            &["--region-state", "eu-west-1=ramp:101%"],
            "expected REGION=left, drained,",
        ),
        (
            &["--region-state", "eu-west-1=ramp:1e1%"],
            "expected REGION=left, drained,",
        ),
        (
            &["--time", "noon"],
            "--time = \"noon\": expected an instant",
        ),
        (
            &["-H", "no colon"],
            "-H = \"no colon\": expected Name: value",
        ),
    ] {
        let arguments = [&["explain", "GET", "/"], given, &["--policy"]].concat();
        let outcome = policy.run(&arguments).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
    }
}

#[tokio::test]
async fn explain_refuses_a_host_that_a_gateway_refuses_and_does_not_repeat_it() {
    let policy = Policy::new(TWO);
    for request in [
        &["http://user:geheim@api.example.com/x"][..],
        &["http://user:geheim@api.example.com/a/../x"],
        &["/x", "-H", "host: api.example.com:99999"],
        &["/x", "-H", "host: user:geheim@api.example.com"],
        &["/x", "-H", "host: a", "-H", "host: b"],
    ] {
        let arguments = [&["explain", "GET"], request, &["--policy"]].concat();
        let outcome = policy.run(&arguments).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
        assert!(outcome.stderr.contains("Host"), "{outcome:?}");
        assert!(outcome.stderr.contains("400"), "{outcome:?}");
        assert!(!outcome.stderr.contains("geheim"), "{outcome:?}");
    }
}

/// A receipt of a request from Ireland to /account/1, by a policy.
fn receipt(policy: &str) -> String {
    use tidegate_traffic::decide::{Request, decide};
    use tidegate_traffic::facts::{Conditions, Facts};
    use tidegate_traffic::receipt::Receipt;
    let compiled = tidegate_traffic::compile(&Source::new("p", policy.as_bytes()));
    let plan = compiled.plan.unwrap();
    let facts = Facts::new(&plan, Conditions::default());
    let headers = http::HeaderMap::new();
    let request = Request {
        method: &http::Method::GET,
        path: "/account/1",
        query: "",
        host: "",
        headers: &headers,
        client: [192, 0, 2, 1].into(),
        country: "IE".parse().ok(),
        place: None,
        hint: "us-east-1",
        recorded: &[],
    };
    let decision = decide(&plan, &facts, &request);
    let receipt = Receipt::new((0, 0), &plan, &facts, &request, &decision);
    receipt.line().unwrap() + "\n"
}

#[tokio::test]
async fn replay_prints_what_another_policy_decides_differently() {
    let policy = Policy::new(TWO);
    let receipts = policy.folder.path().join("receipts.jsonl");
    let receipts = receipts.to_str().unwrap();
    std::fs::write(receipts, receipt(TWO).repeat(3)).unwrap();
    let replay = ["replay", receipts, "--policy"];
    let outcome = policy.run(&replay).await;
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "3 receipts: 0 differ, 0 not judged\n")
    );
    let other = Policy::new(&TWO.replace("(IE)", "(PT)"));
    let outcome = other.run(&replay).await;
    let first = "1: eu-west-1 by accounts because named (proposed eu-west-1; standbys ) -> \
                 us-east-1 by everything because nearest (proposed us-east-1; standbys eu-west-1)\n";
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.starts_with(first), "{outcome:?}");
    assert!(
        outcome
            .stdout
            .ends_with("3 receipts: 3 differ, 0 not judged\n")
    );
    let json = ["replay", receipts, "--json", "--policy"];
    let outcome = other.run(&json).await;
    assert_eq!(outcome.code, 1);
    let shown: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let first = &shown["differences"][0];
    assert_eq!(
        (&shown["receipts"], &shown["differ"]),
        (&3.into(), &3.into())
    );
    assert_eq!(
        (&first["line"], &first["was"]["policy"]),
        (&1.into(), &"accounts".into())
    );
    assert_eq!(first["is"]["region"], "us-east-1", "{shown}");
    std::fs::write(receipts, receipt(TWO) + "{\n").unwrap();
    let outcome = policy.run(&replay).await;
    assert_eq!(outcome.code, 2);
    assert!(
        outcome
            .stderr
            .contains("receipts.jsonl:2: the line is not a receipt: EOF"),
        "{outcome:?}"
    );
    std::fs::write(receipts, [receipt(TWO).as_bytes(), b"{\xff\n"].concat()).unwrap();
    let outcome = policy.run(&replay).await;
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("receipts.jsonl:2: invalid utf-8"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn replay_judges_nothing_that_a_receipt_does_not_tell() {
    let condition = "path /account/* and country in (IE)";
    let policy = Policy::new(&TWO.replace(condition, "header x-new"));
    let receipts = policy.folder.path().join("receipts.jsonl");
    let receipts = receipts.to_str().unwrap();
    std::fs::write(receipts, receipt(TWO)).unwrap();
    let outcome = policy.run(&["replay", receipts, "--policy"]).await;
    let expected = "1: not judged: its header x-new is not recorded\n\
                    1 receipts: 0 differ, 1 not judged\n";
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, expected));
    let json = ["replay", receipts, "--json", "--policy"];
    let outcome = policy.run(&json).await;
    let shown: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(shown["not_judged"], 1, "{shown}");
    assert_eq!(shown["not_recorded"][0]["field"], "header x-new", "{shown}");
}

#[tokio::test]
async fn replay_shows_no_control_characters_and_refuses_what_no_gateway_writes() {
    let policy = Policy::new(TWO);
    let receipts = policy.folder.path().join("receipts.jsonl");
    let receipts = receipts.to_str().unwrap();
    let spoilt = |part: &str, by: &str| {
        let line = receipt(TWO).replacen(part, by, 1);
        assert_ne!(line, receipt(TWO));
        std::fs::write(receipts, line).unwrap();
    };
    let replay = ["replay", receipts, "--policy"];
    spoilt(
        "\"policy\":\"accounts\"",
        "\"policy\":\"acc\\u001b[2J\\nounts\"",
    );
    let outcome = policy.run(&replay).await;
    assert_eq!(outcome.code, 1);
    let first = "1: eu-west-1 by acc[2Jounts because named";
    assert!(outcome.stdout.starts_with(first), "{outcome:?}");
    spoilt("\"reason\":\"named\"", "\"reason\":\"magic\"");
    let outcome = policy.run(&replay).await;
    assert_eq!(outcome.code, 2);
    let wrong = "receipts.jsonl:1: the receipt has an invalid reason";
    assert!(outcome.stderr.contains(wrong), "{outcome:?}");
}
