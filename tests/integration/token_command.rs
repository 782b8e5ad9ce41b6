//! `tidegate token`, through the binary.

use std::process::Output;

use tidegate::testkit::GatewayCommand;
use tidegate_model::{Lsn, SystemId, Timeline, TokenKeys, WalPosition};

use crate::world::{BINARY, TOKEN_SECRET};

/// Inspects a token, with a secret or without.
async fn inspect(token: &str, secret: Option<&str>) -> Output {
    let command = GatewayCommand::new(BINARY, "token")
        .arg("inspect")
        .arg(token);
    let command = match secret {
        Some(secret) => command.env("TOKEN_SECRET", secret),
        None => command,
    };
    command.output().await.unwrap()
}

fn token() -> String {
    TokenKeys::parse(TOKEN_SECRET).unwrap().sign(&WalPosition {
        system: SystemId(7_000_000_000_000_000_001),
        timeline: Timeline(3),
        lsn: Lsn(0x16_B374_D848),
    })
}

#[tokio::test]
async fn inspecting_a_token_prints_its_parts_and_who_signed_it() {
    for (secret, signature) in [
        (None, "not checked: TOKEN_SECRET is not set"),
        (Some(TOKEN_SECRET), "verified by TOKEN_SECRET"),
        (
            Some("another secret altogether"),
            "not signed by a key of TOKEN_SECRET",
        ),
    ] {
        let output = inspect(&token(), secret).await;
        let expected = format!(
            "version    1\nsystem     7000000000000000001\ntimeline   3\n\
             lsn        16/B374D848\nsignature  {signature}\n"
        );
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        assert!(output.status.success());
    }
}

#[tokio::test]
async fn a_malformed_token_is_refused_in_one_line() {
    for token in ["", "AAAA", "-AAAA", "not a token"] {
        let output = inspect(token, Some(TOKEN_SECRET)).await;
        assert_eq!(output.status.code(), Some(2), "{token:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            format!("tidegate: TOKEN = \"{token}\": the consistency token is malformed\n")
        );
    }
}
