//! What operators do and see.

use std::time::{Duration, SystemTime};

use reqwest::Response;
use serde_json::Value;
use tidegate::gateway::admin::RegionEntry;
use tidegate::testkit::until;

use super::kit::{AWAY, FleetScene, entry, named, serving};
use crate::fleet::sign_within;
use crate::world::{DEADLINE, printed, problem};

impl FleetScene {
    async fn operate(&self, at: usize, what: &str) -> Response {
        let url = self
            .gateway(at)
            .admin_url(&format!("/admin/regions/{what}"));
        self.client.post(url).send().await.unwrap()
    }

    async fn regions(&self) -> Vec<RegionEntry> {
        let url = self.gateway(0).admin_url("/admin/topology");
        let topology: Value = self
            .client
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        serde_json::from_value(topology["regions"].clone()).unwrap()
    }
}

#[tokio::test]
async fn a_drained_region_gets_no_requests_until_the_drain_is_ended() {
    let scene = FleetScene::start(2, AWAY).await;
    // No region has a node of the database.
    let regions = scene.view(0).await.regions;
    let lags = regions.iter().map(|it| (it.lag_ms, &*it.lag));
    assert_eq!(lags.collect::<Vec<_>>(), [(None, "none"); 2]);
    let drained = scene.operate(0, "us-east-1/drain?for=10m").await;
    assert_eq!(drained.status(), 200);
    let region: Value = drained.json().await.unwrap();
    assert_eq!(region["region"], "us-east-1");
    assert!(region["drained_for_s"].as_u64().unwrap() > 590, "{region}");
    let response = scene.get("/app/x").await;
    assert_eq!(serving(&response), "eu-west-1");
    // The other region knows it of itself, and is the last one that is well.
    let last = scene.operate(1, "eu-west-1/drain?for=10m").await;
    problem(last, 409, "conflict").await;
    let forced = scene.operate(1, "eu-west-1/drain?for=10m&force=true").await;
    assert_eq!(forced.status(), 200);
    for region in ["eu-west-1", "us-east-1"] {
        let undrained = scene.operate(1, &format!("{region}/undrain")).await;
        assert_eq!(undrained.status(), 200, "{region}");
    }
    until("it is served there again", DEADLINE, async || {
        let response = scene.get("/app/x").await;
        Ok((serving(&response) == "us-east-1").then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_drain_that_cannot_be_done_says_why() {
    let mut scene = FleetScene::start(2, AWAY).await;
    let unknown = scene.operate(0, "eu-north-1/drain?for=1m").await;
    problem(unknown, 404, "not-found").await;
    for time in ["", "?for=0s", "?for=25h", "?for=x"] {
        let invalid = scene.operate(0, &format!("us-east-1/drain{time}")).await;
        problem(invalid, 400, "invalid-parameter").await;
    }
    scene.kill(1);
    until("the region is unreachable", DEADLINE, async || {
        let view = scene.view(0).await;
        Ok((view.regions[1].tunnels == 0).then_some(()))
    })
    .await
    .unwrap();
    let gone = scene.operate(0, "us-east-1/drain?for=1m").await;
    problem(gone, 503, "no-node").await;
}

#[tokio::test]
async fn a_drain_that_the_region_itself_refuses_is_a_conflict() {
    let mut scene = FleetScene::prepared(2, AWAY, "", named).await;
    // By the other region's policy the first one is drained, so that it would be the last one itself.
    let policy = "region eu-west-1\nregion us-east-1\npolicy near { prefer local | us-east-1 | eu-west-1 }\n\
                  window always { from 2020-01-01T00:00Z to 2120-01-01T00:00Z drain eu-west-1 }\n";
    std::fs::write(scene.file("others.policy"), policy).unwrap();
    scene.start_one(0).await;
    scene.start_one(1).await;
    scene.until_all_are(0, "well").await;
    scene.until_all_are(1, "draining").await;
    let refused = scene.operate(0, "us-east-1/drain?for=1m").await;
    let detail = problem(refused, 409, "conflict").await;
    let expected = "no other region would be well and undrained";
    assert!(detail.contains(expected), "{detail}");
}

#[tokio::test]
async fn the_answer_to_a_drain_is_of_this_drain_and_not_of_the_one_before() {
    let scene = FleetScene::start(2, AWAY).await;
    for (time, seconds) in [("30s", 29..=30), ("10m", 598..=600), ("1s", 1..=1)] {
        let drain = format!("us-east-1/drain?for={time}");
        let drained = scene.operate(0, &drain).await;
        let region: Value = drained.json().await.unwrap();
        let left = region["drained_for_s"].as_u64().unwrap();
        assert!(seconds.contains(&left), "{time}: {region}");
    }
}

#[tokio::test]
async fn what_a_region_serves_is_heard_of_in_the_others() {
    let scene = FleetScene::start(2, AWAY).await;
    for _ in 0..100 {
        let response = scene.get("/app/x").await;
        assert_eq!(
            entry(&response),
            "eu-west-1; fwd=us-east-1; policy=away; reason=named"
        );
    }
    until("its rate is heard", DEADLINE, async || {
        let regions = scene.regions().await;
        let us = regions.iter().find(|it| it.region == "us-east-1").unwrap();
        let eu = regions.iter().find(|it| it.region == "eu-west-1").unwrap();
        let heard = us.rps > 1.0 && us.errors == Some(0.0) && us.p99_ms.is_some();
        anyhow::ensure!(heard, "{us:?}");
        assert_eq!((eu.rps, us.tunnels, us.gateways), (0.0, Some(2), Some(1)));
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_gateway_that_ends_finishes_what_was_handed_to_it() {
    let slow = |_region| {
        let answer = || async {
            tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
            "late"
        };
        axum::Router::new().fallback(answer)
    };
    let brief = "[server]\ndrain_delay = \"100ms\"\n";
    let scene = FleetScene::with(2, AWAY, brief, slow).await;
    let under_way = scene.request(http::Method::POST, "/app/x").send();
    let under_way = tokio::spawn(under_way);
    until("it is under way", DEADLINE, async || {
        Ok((!scene.app(1).asked().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    scene.gateway(1).signal(nix::sys::signal::Signal::SIGTERM);
    until("it is draining", DEADLINE, async || {
        let view = scene.view(0).await;
        Ok((view.regions[1].state == "draining").then_some(()))
    })
    .await
    .unwrap();
    let response = scene.get("/app/y").await;
    assert_eq!(serving(&response), "eu-west-1");
    let response = under_way.await.unwrap().unwrap();
    assert_eq!(
        (response.status().as_u16(), serving(&response)),
        (200, "us-east-1")
    );
    assert_eq!(response.text().await.unwrap(), "late");
}

#[tokio::test]
async fn check_lists_the_peers_and_warns_of_a_region_that_is_none() {
    let scene = FleetScene::start(2, AWAY).await;
    let policy = "region eu-west-1\nregion us-east-1\nregion eu-north-1\n\
                  policy all { prefer local | us-east-1 | eu-north-1 }\n";
    std::fs::write(scene.file("traffic.policy"), policy).unwrap();
    let printed = printed(scene.command(0, "check")).await;
    let fleet = printed.split("\nFLEET\n").nth(1).unwrap();
    let fleet = fleet.split("\n\n").next().unwrap();
    assert!(
        fleet.contains("eu-west-1.crt is of eu-west-1\nus-east-1        127.0.0.1:"),
        "{fleet}"
    );
    let warning =
        "warning: eu-north-1 is a region of the traffic policy and no peer: it is unreachable";
    assert!(fleet.ends_with(warning), "{fleet}");
    let key = scene.file("us-east-1.key");
    let refused = scene.command(0, "check").env("FLEET_KEY", key);
    let refused = refused.output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn check_tells_a_certificate_that_is_not_valid_yet_from_an_expired_one() {
    let scene = FleetScene::start(2, AWAY).await;
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    for (name, valid, expected) in [
        ("early", [now + day, now + 2 * day], "it is not valid yet"),
        ("late", [now - 2 * day, now - day], "it is expired"),
    ] {
        let uri = "tidegate://region/eu-west-1";
        sign_within(&scene.file(""), name, &[uri], valid);
        let check = scene.command(0, "check");
        let check = check.env("FLEET_CERT", scene.file(&format!("{name}.crt")));
        let check = check.env("FLEET_KEY", scene.file(&format!("{name}.key")));
        let printed = printed(check).await;
        let expected = format!("{name}.crt is of eu-west-1 (warning: {expected})\n");
        assert!(printed.contains(&expected), "{printed}");
    }
}

#[tokio::test]
async fn check_says_what_is_wrong_with_a_file_of_the_fleet() {
    let scene = FleetScene::start(2, AWAY).await;
    let whole = std::fs::read_to_string(scene.file("eu-west-1.crt")).unwrap();
    let ca = std::fs::read_to_string(scene.file("ca.crt")).unwrap();
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let garbage = |name: &str| format!("-----BEGIN {name}-----\nAAAA\n-----END {name}-----\n");
    let certificate = || garbage("CERTIFICATE");
    let cut_off = "its PEM is cut off: a BEGIN line has no END line";
    for (variable, text, expected) in [
        ("FLEET_CERT", half(&whole), cut_off),
        ("FLEET_CA", whole.clone(), "its certificate 1 is not a CA's"),
        (
            "FLEET_CERT",
            certificate(),
            "its certificate 1 is not an X.509 certificate",
        ),
        (
            "FLEET_CERT",
            whole + &certificate(),
            "its certificate 2 is not an X.509 certificate",
        ),
        (
            "FLEET_KEY",
            garbage("PRIVATE KEY"),
            "the key must be RSA of 2,048 to 4,096 bits",
        ),
        ("FLEET_CA", half(&ca), cut_off),
        (
            "FLEET_CA",
            certificate(),
            "its certificate 1 cannot be used as a CA",
        ),
        (
            "FLEET_CA",
            ca + &garbage("X509 CRL"),
            "its list 1 of revoked certificates cannot be read",
        ),
    ] {
        std::fs::write(scene.file("wrong.pem"), text).unwrap();
        let check = scene.command(0, "check");
        let check = check.env(variable, scene.file("wrong.pem"));
        let refused = check.output().await.unwrap();
        let error = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(
            error.contains(variable) && error.contains("wrong.pem"),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}
