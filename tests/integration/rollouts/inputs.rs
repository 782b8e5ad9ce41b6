//! What commands take, what they refuse, and what they print for machines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::kit::{EU, LOCAL, Scene, TO_US};

#[tokio::test]
async fn an_unchanged_text_whose_row_was_changed_by_hand_is_stored_anew() {
    let scene = Scene::start("").await;
    for (set, number) in [
        ("sha256 = repeat('0', 64)", "2"),
        ("body = body || '# changed'", "3"),
        ("language = 2", "4"),
    ] {
        scene.push(LOCAL).await;
        let sql = format!(
            "set session_replication_role = replica; update tidegate.traffic_revision set {set} \
             where revision = (select max(revision) from tidegate.traffic_revision)"
        );
        scene.cluster.primary.execute(&sql).await.unwrap();
        assert_eq!(scene.push(LOCAL).await, number, "{set}");
        assert_eq!(scene.push(LOCAL).await, number, "{set}");
    }
    let changed = scene.policy(&["rollout", "1"]).await;
    assert_eq!(changed.code, Some(2), "{changed:?}");
    assert!(
        changed.told.contains("`tidegate policy push`"),
        "{changed:?}"
    );
    // A user who only looks at it is warned; an explanation would be of what no gateway does.
    for (arguments, code) in [
        (&["show", "2"][..], 0),
        (&["show", "--text", "2"], 0),
        (&["diff", "2", "4"], 0),
        (&["explain", "GET", "/app/x", "--revision", "2"], 2),
    ] {
        let ended = scene.policy(arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        let warning = "revision 2: it was changed by hand";
        assert!(ended.told.contains(warning), "{arguments:?}: {ended:?}");
    }
    let whole = scene.done(&["show", "--text", "4"]).await;
    assert_eq!(whole, LOCAL.lines().last().unwrap());
}

#[tokio::test]
async fn a_signature_names_its_fleet_and_a_key_is_one_that_openssl_reads() {
    let scene = Scene::start("").await;
    let key = scene.folder.path().join("key.pem").display().to_string();
    let public = scene.done(&["key", &key]).await;
    let file = scene.file("signed.policy", LOCAL);
    let nameless = scene.policy(&["push", &file, "--sign", &key]).await;
    assert_eq!(nameless.code, Some(2), "{nameless:?}");
    assert!(nameless.told.contains("give --fleet NAME"), "{nameless:?}");
    let odd = scene
        .policy(&["push", &file, "--sign", &key, "--fleet", ""])
        .await;
    assert_eq!(odd.code, Some(2), "{odd:?}");
    for (number, fleet) in [
        "[fleet]\nname = \"shop\"\n",
        "[fleet]\nstate_dir = \"/tmp\"\n",
    ]
    .iter()
    .enumerate()
    {
        let config = scene.file("fleet.toml", fleet);
        let command = scene.policy_command(&["push", &file, "--sign", &key]);
        let output = command
            .env("TIDEGATE_CONFIG", config)
            .output()
            .await
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(out.ends_with(&format!("\n{}\n", number + 1)), "{out}");
    }
    let openssl = std::process::Command::new("openssl")
        .args(["pkey", "-pubout", "-outform", "DER", "-in", &key])
        .output();
    let Ok(openssl) = openssl else {
        println!("SKIPPED: there is no openssl");
        return;
    };
    assert!(openssl.status.success(), "{openssl:?}");
    let bytes = &openssl.stdout[openssl.stdout.len() - 32..];
    let expected: tidegate_rollout::TrustedKey = public.parse().unwrap();
    let read = STANDARD.encode(bytes);
    assert_eq!(read, expected.to_string());
}

#[tokio::test]
async fn with_json_standard_output_is_json_whatever_happens() {
    let scene = Scene::start("").await;
    let key = scene.folder.path().join("key.pem").display().to_string();
    let file = scene.file("traffic.policy", LOCAL);
    let further = scene.file("further.policy", TO_US);
    let failing = LOCAL.to_owned()
        + "test \"it goes to us\" {\n  given in eu-west-1\n  expect us-east-1\n}\n";
    let failing = scene.file("failing.policy", &failing);
    let quick = ["rollout", "1", "--bake", "1ms", "--blast-radius", "100%"];
    for (arguments, code, field) in [
        (&["status"][..], 0, "gateways"),
        (&["check", &file], 0, "summary"),
        (&["check", &failing], 2, "error"),
        (&["test", &file], 0, "tests"),
        (&["test", &failing], 1, "tests"),
        (&["test", "nowhere"], 2, "error"),
        (&["push", "nowhere"], 2, "error"),
        (&["rollout", "1"], 2, "error"),
        (&["abort"], 2, "error"),
        (&["pause"], 2, "error"),
        (&["resume"], 2, "error"),
        (&["rollback"], 2, "error"),
        (&["diff", "active", "1"], 2, "error"),
        (&["show", "1"], 2, "error"),
        (&["key", &key], 0, "public"),
        (&["key", &key], 2, "error"),
        (&["push", &file], 0, "revision"),
        (&["push", &further], 0, "summary"),
        (&quick, 0, "state"),
        (&quick, 0, "reason"),
        (&["rollout", "2", "--canary", "nowhere"], 2, "error"),
        (&["diff", "active", "1"], 0, "differ"),
        (&["diff", "active", "2"], 1, "differ"),
        (&["rollback"], 0, "in_force"),
    ] {
        let arguments = [arguments, &["--json"]].concat();
        let ended = scene.policy(&arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        let lines = ended.out.lines().map(serde_json::from_str::<Value>);
        let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {ended:?}");
        });
        let last = lines
            .last()
            .unwrap_or_else(|| panic!("{arguments:?}: {ended:?}"));
        assert!(last.get(field).is_some(), "{arguments:?}: {ended:?}");
        let said = last.get("error").map(|it| it["code"].as_i64());
        let expected = Some(i64::from(code));
        assert!(said.is_none_or(|said| said == expected), "{ended:?}");
    }
    for arguments in [&["show", "1", "--json"][..], &["list", "--json"]] {
        let ended = scene.policy(arguments).await;
        serde_json::from_str::<Value>(&ended.out).unwrap();
    }
}

#[tokio::test]
async fn what_no_rollout_can_mean_is_refused_before_anything_is_stored() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.put_in_force("1").await;
    let nul = scene.file("nul.policy", &format!("{LOCAL}# a\0b\n"));
    let file = scene.file("traffic.policy", LOCAL);
    let long = "x".repeat(1_001);
    for (arguments, expected) in [
        (&["push", &nul][..], "nul.policy:7: it has a NUL character"),
        (
            &["push", &file, "--note", "two\nlines"],
            "--note: expected one line",
        ),
        (
            &["push", &file, "--note", &long],
            "--note: expected at most 1000",
        ),
        (
            &["push", &file, "--author", "\u{1b}[2J"],
            "--author: expected one line",
        ),
        (
            &["rollout", "1", "--canary", "nowhere"],
            "is no region of this rollout",
        ),
        (
            &["rollout", "1", "--order", "eu-west-1,eu-west-1"],
            "named twice",
        ),
        (
            &["rollout", "1", "--order", ""],
            "is no region of this rollout",
        ),
        (
            &["rollout", "1", "--canary", EU, "--order", EU],
            "cannot be used with",
        ),
        (
            &["rollout", "1", "--bake", "0s"],
            "more than 0 and at most 7 days",
        ),
        (
            &["rollout", "1", "--bake", "1000years"],
            "more than 0 and at most 7 days",
        ),
        (
            &["rollout", "1", "--wait", "8d"],
            "more than 0 and at most 7 days",
        ),
        (
            &["rollout", "1", "--blast-radius", "101%"],
            "expected a share",
        ),
        (
            &["rollout", "1", "--blast-radius", "NaN%"],
            "expected a share",
        ),
        (&["rollout", "1", "--judge", "time"], "errors,latency"),
        (&["rollout", "0"], "there is no revision 0"),
        (&["rollout", "-1"], "unexpected argument"),
        (&["rollback", "--to", "x"], "expected a number"),
    ] {
        let ended = scene.policy(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.told.contains(expected), "{arguments:?}: {ended:?}");
    }
    assert_eq!(scene.status().await["last"]["rollout"], 1);
}
