//! Certificates that change while the gateway serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use reqwest::Client;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::kit::{Pair, Secure, client_of};
use crate::world::DEADLINE;

const RENEWED: &str = "tidegate_tls_renewals_total{outcome=\"renewed\"}";
const REFUSED: &str = "tidegate_tls_renewals_total{outcome=\"refused\"}";

impl Secure {
    /// Waits until new connections get a certificate, and returns how long that took.
    async fn wait_for(&self, pair: &Pair) -> Duration {
        let wanted = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        let start = Instant::now();
        loop {
            let stream = self.authority.connect(&self.edge, &[]).await;
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            if chain[0] == wanted {
                return start.elapsed();
            }
            assert!(start.elapsed() < DEADLINE, "the certificate is not used");
        }
    }

    async fn wait_for_metric(&self, series: &str, value: f64) {
        let start = Instant::now();
        while self.edge.metric(series).await < value {
            assert!(start.elapsed() < DEADLINE, "{series} is not {value}");
        }
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_within_a_second_and_no_request_is_lost() {
    let world = Secure::start().await;
    let mut open = world.authority.connect(&world.edge, &[]).await;
    let mut load = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for keeps in [true, true, false, false] {
        let (url, stopped) = (world.url("/app/x"), stopped.clone());
        let root = world.authority.root.clone();
        let mut client = client_of(&root);
        load.spawn(async move {
            let mut served = 0;
            while !*stopped.borrow() {
                if !keeps {
                    client = client_of(&root);
                }
                let answer = client.get(&url).send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), "app");
                served += 1;
            }
            served
        });
    }
    for _ in 0..5 {
        let pair = world.authority.valid();
        world.files.write(&pair);
        let took = world.wait_for(&pair).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    stop.send(true).unwrap();
    let served: i32 = load.join_all().await.iter().sum();
    assert!(served > 50, "{served}");
    assert!(world.edge.metric(RENEWED).await >= 5.0);
    assert_eq!(world.edge.metric(REFUSED).await, 0.0);
    // The connection that was open all the time.
    open.write_all(b"GET /app/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_pair_is_found_through_symbolic_links_that_are_changed() {
    let world = Secure::start().await;
    let directory = world.files.directory();
    let pair = world.authority.valid();
    for (name, text) in [("cert.pem", &pair.certificate), ("key.pem", &pair.key)] {
        fs::write(directory.join(format!("2-{name}")), text).unwrap();
        fs::remove_file(directory.join(name)).unwrap();
        symlink(format!("2-{name}"), directory.join(name)).unwrap();
    }
    world.wait_for(&pair).await;
    let next = world.authority.valid();
    for (name, text) in [("cert.pem", &next.certificate), ("key.pem", &next.key)] {
        fs::write(directory.join(format!("3-{name}")), text).unwrap();
        symlink(format!("3-{name}"), directory.join("new")).unwrap();
        fs::rename(directory.join("new"), directory.join(name)).unwrap();
    }
    world.wait_for(&next).await;
    assert_eq!(world.edge.metric(REFUSED).await, 0.0);
}

#[tokio::test]
async fn the_other_half_of_a_pair_is_waited_for() {
    let world = Secure::start().await;
    let pair = world.authority.valid();
    fs::write(world.files.certificate(), &pair.certificate).unwrap();
    sleep(Duration::from_secs(1)).await;
    world.client.get(world.url("/app/x")).send().await.unwrap();
    fs::write(world.files.key(), &pair.key).unwrap();
    world.wait_for(&pair).await;
    assert_eq!(world.edge.metric(REFUSED).await, 0.0);
    assert!(
        !world
            .edge
            .gateway
            .log()
            .contains("kept the old TLS certificate")
    );
}

#[tokio::test]
async fn a_bad_pair_changes_nothing_and_is_in_the_log_once() {
    let world = Secure::start().await;
    let (other, expired) = (world.authority.valid(), world.authority.sign(2020, 2021));
    let good = world.authority.valid();
    let half = good.certificate[..good.certificate.len() / 2].to_owned();
    let bad = [
        (&good.certificate, &other.key, "key.pem"),
        (&expired.certificate, &expired.key, "cert.pem"),
        (&half, &good.key, "cert.pem"),
        (&good.certificate, &String::new(), "key.pem"),
    ];
    for (count, (certificate, key, named)) in (1_u8..).zip(bad) {
        fs::write(world.files.certificate(), certificate).unwrap();
        fs::write(world.files.key(), key).unwrap();
        world.wait_for_metric(REFUSED, count.into()).await;
        let answer = world.client.get(world.url("/app/x")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let log = world.edge.gateway.log();
        let warnings: Vec<_> = log
            .lines()
            .filter(|line| line.contains("kept the old TLS"))
            .collect();
        assert_eq!(warnings.len(), usize::from(count), "{log}");
        assert!(
            warnings[usize::from(count) - 1].contains(named),
            "{warnings:?}"
        );
    }
    fs::remove_file(world.files.key()).unwrap();
    world.wait_for_metric(REFUSED, 5.0).await;
    world.files.write(&good);
    world.wait_for(&good).await;
    world.wait_for_metric(RENEWED, 1.0).await;
    let not_after = world
        .edge
        .metric("tidegate_tls_certificate_not_after_seconds")
        .await;
    assert_eq!(not_after, 4_102_444_800.0, "2100-01-01");
}

#[tokio::test]
async fn a_certificate_that_expires_while_it_serves_stays_with_an_error_in_the_log() {
    let world = Secure::start().await;
    let end = SystemTime::now() + Duration::from_secs(3);
    let short = world.authority.sign_until(end);
    world.files.write(&short);
    world.wait_for(&short).await;
    let expired = "the TLS certificate has expired";
    let line = world.edge.gateway.wait_for_log(expired).await.unwrap();
    assert!(
        line.contains("\"ERROR\"") && line.contains("cert.pem"),
        "{line}"
    );
    let client = Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true);
    let client = client.build().unwrap();
    let answer = client.get(world.url("/app/x")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let log = world.edge.gateway.log();
    assert_eq!(log.matches(expired).count(), 1, "{log}");

    let next = world.authority.valid();
    world.files.write(&next);
    world.wait_for(&next).await;
}
