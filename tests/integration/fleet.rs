//! Gateways of two regions as a fleet: mutual TLS between real processes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate::gateway::admin::Topology;
use tidegate::peers::FleetView;
use tidegate::testkit::{Cluster, GatewayCommand, GatewayProcess, free_port, until};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{
    BINARY, DEADLINE, TOKEN_SECRET, client, configured, gateway_of, header, migrated_cluster,
    printed, wait_ready,
};

pub(crate) const EU: &str = "eu-west-1";
pub(crate) const US: &str = "us-east-1";

/// Writes certificates, and returns what the command has printed.
pub(crate) async fn certificates(directory: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = GatewayCommand::new(BINARY, "fleet").arg("certificates");
    for argument in arguments {
        command = command.arg(argument);
    }
    let out = directory.to_str().unwrap();
    command.arg("--out").arg(out).output().await.unwrap()
}

/// A certificate of one region, as a peer would show it.
struct Shown<'a> {
    uris: &'a [&'a str],
    days: i64,
}

/// Signs a certificate with the CA of a directory.
fn signed(directory: &Path, name: &str, shown: &Shown<'_>) {
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let until = match u32::try_from(shown.days) {
        Ok(days) => now + day * days,
        Err(_) => now - day,
    };
    sign(directory, name, shown.uris, until);
}

/// Signs a certificate of some URIs that is valid until a time.
pub(crate) fn sign(directory: &Path, name: &str, uris: &[&str], until: SystemTime) {
    sign_within(directory, name, uris, [SystemTime::UNIX_EPOCH, until]);
}

/// Signs a certificate of some URIs that is valid between two times.
pub(crate) fn sign_within(directory: &Path, name: &str, uris: &[&str], valid: [SystemTime; 2]) {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let ca_key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), ca_key).unwrap();
    let mut params = CertificateParams::default();
    let uris = uris.iter();
    params.subject_alt_names = uris
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let [from, until] = valid;
    params.not_before = from.into();
    params.not_after = until.into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(directory.join(format!("{name}.crt")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// Two regions' gateways over one cluster.
pub(crate) struct Pair {
    pub(crate) cluster: Cluster,
    certificates: tempfile::TempDir,
    ports: [u16; 2],
}

impl Pair {
    pub(crate) async fn new() -> Self {
        let certificates_of = tempfile::tempdir().unwrap();
        let regions = format!("{EU},{US}");
        let output = certificates(certificates_of.path(), &["--regions", &regions]).await;
        assert!(output.status.success(), "{output:?}");
        Self {
            cluster: migrated_cluster(0).await,
            certificates: certificates_of,
            ports: [free_port().unwrap(), free_port().unwrap()],
        }
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.certificates.path().join(name)
    }

    pub(crate) fn command(&self, region: &str, own: usize) -> GatewayCommand {
        self.command_with(region, own, "")
    }

    /// With more in the configuration.
    pub(crate) fn command_with(&self, region: &str, own: usize, more: &str) -> GatewayCommand {
        let (other_region, other) = match own {
            0 => (US, 1),
            _ => (EU, 0),
        };
        let toml = format!(
            "[fleet]\npeers = [{{ region = \"{other_region}\", address = \"127.0.0.1:{}\" }}]\n{more}",
            self.ports[other]
        );
        let command = configured(&self.cluster, gateway_of(&self.cluster), &toml);
        command
            .env("REGION", region)
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("FLEET_ADDR", format!("127.0.0.1:{}", self.ports[own]))
            .env("FLEET_CERT", self.file(&format!("{region}.crt")))
            .env("FLEET_KEY", self.file(&format!("{region}.key")))
            .env("FLEET_CA", self.file("ca.crt"))
    }
}

async fn fleet(gateway: &GatewayProcess) -> FleetView {
    let answer = client()
        .get(gateway.admin_url("/admin/topology"))
        .send()
        .await;
    let topology: Topology = answer.unwrap().json().await.unwrap();
    topology.fleet.expect("it is in a fleet")
}

fn state<'a>(view: &'a FleetView, region: &str) -> &'a str {
    let found = view.regions.iter().find(|it| it.region == region);
    found.map_or("absent", |it| it.state.as_str())
}

async fn wait_until(gateway: &GatewayProcess, what: &str, holds: impl Fn(&FleetView) -> bool) {
    until(what, DEADLINE, async || {
        let view = fleet(gateway).await;
        anyhow::ensure!(holds(&view), "{view:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

pub(crate) async fn wait_for_state(gateway: &GatewayProcess, region: &str, wanted: &str) {
    let what = format!("{region} is {wanted}");
    wait_until(gateway, &what, |view| state(view, region) == wanted).await;
}

#[tokio::test]
async fn two_regions_know_each_other_and_notice_a_kill() {
    let pair = Pair::new().await;
    let eu = pair.command(EU, 0).start().await.unwrap();
    wait_ready(&client(), &eu).await;
    wait_for_state(&eu, US, "unreachable").await;
    let us = pair.command(US, 1).start().await.unwrap();
    wait_until(&eu, "it is heard over two tunnels", |view| {
        let us = view.regions.iter().find(|it| it.region == US);
        us.is_some_and(|it| it.state == "well" && it.tunnels == 2 && it.gateways == 1)
    })
    .await;
    wait_for_state(&us, EU, "well").await;
    drop(us);
    wait_for_state(&eu, US, "unreachable").await;
}

#[tokio::test]
async fn hostile_peers_are_refused_and_counted_and_move_nothing() {
    let pair = Pair::new().await;
    let eu = pair.command(EU, 0).start().await.unwrap();
    wait_ready(&client(), &eu).await;
    let directory = pair.certificates.path();
    let other = tempfile::tempdir().unwrap();
    certificates(other.path(), &["--regions", US]).await;
    let uri = format!("tidegate://region/{US}");
    let region = [uri.as_str()];
    signed(
        directory,
        "expired",
        &Shown {
            uris: &region,
            days: -1,
        },
    );
    signed(
        directory,
        "nameless",
        &Shown {
            uris: &["spiffe://us-east-1"],
            days: 1,
        },
    );
    signed(
        directory,
        "nowhere",
        &Shown {
            uris: &["tidegate://region/nowhere-1"],
            days: 1,
        },
    );
    let twice = [region[0], "tidegate://region/eu-west-1"];
    signed(
        directory,
        "double",
        &Shown {
            uris: &twice,
            days: 1,
        },
    );
    for (reason, shown) in [
        ("none", None),
        ("untrusted", Some(other.path().join(US))),
        ("expired", Some(directory.join("expired"))),
        ("no-region", Some(directory.join("nameless"))),
        ("no-region", Some(directory.join("double"))),
        ("region", Some(directory.join("nowhere"))),
    ] {
        assert!(
            !is_accepted(pair.ports[0], shown.as_deref()).await,
            "{reason}"
        );
    }
    assert!(is_accepted(pair.ports[0], Some(&directory.join(US))).await);
    let page = client().get(eu.admin_url("/metrics")).send().await.unwrap();
    let page = page.text().await.unwrap();
    for (reason, count) in [
        ("none", 1),
        ("untrusted", 1),
        ("expired", 1),
        ("no-region", 2),
        ("region", 1),
    ] {
        let name = "tidegate_fleet_handshakes_refused_total";
        let line = format!("{name}{{reason=\"{reason}\"}} {count}");
        assert!(page.contains(&line), "{line}: {page}");
    }
    assert_eq!(state(&fleet(&eu).await, US), "unreachable");
}

/// Connects with a certificate or without, and tells whether the gateway goes on talking.
async fn is_accepted(port: u16, shown: Option<&Path>) -> bool {
    let Some(mut socket) = connect(port, shown).await else {
        return false;
    };
    let mut settings = [0; 9];
    socket.read_exact(&mut settings).await.is_ok()
}

/// Connects with a certificate or without; in TLS 1.3 a client's handshake ends before the server has seen its
/// certificate.
pub(crate) async fn connect(port: u16, shown: Option<&Path>) -> Option<TlsStream<TcpStream>> {
    let builder = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let certificate = CertificateDer::from_pem_file(shown.with_extension("crt")).unwrap();
            let key = PrivateKeyDer::from_pem_file(shown.with_extension("key")).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect("fleet".try_into().unwrap(), socket)
        .await
        .ok()
}

/// Trusts any server.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let provider = rustls::crypto::ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[tokio::test]
async fn a_gateway_of_another_region_than_it_is_listed_under_is_refused() {
    let pair = Pair::new().await;
    let toml = format!(
        "[fleet]\npeers = [{{ region = \"ap-southeast-1\", address = \"127.0.0.1:{}\" }}]\n",
        pair.ports[1]
    );
    let eu = configured(&pair.cluster, pair.command(EU, 0), &toml);
    let eu = eu.start().await.unwrap();
    let us = pair.command(US, 1).start().await.unwrap();
    eu.wait_for_log("\"reason\":\"region\"").await.unwrap();
    assert_eq!(state(&fleet(&eu).await, "ap-southeast-1"), "unreachable");
    drop(us);
}

#[tokio::test]
async fn certificates_are_never_overwritten_and_a_wrong_set_ends_the_start() {
    let pair = Pair::new().await;
    let directory = pair.certificates.path();
    let again = certificates(directory, &["--regions", EU]).await;
    let error = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(
        error.contains("ca.crt\" exists and is not overwritten"),
        "{error}"
    );
    let mode = std::fs::metadata(pair.file("eu-west-1.key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    let ca = directory.to_str().unwrap();
    let more = certificates(directory, &["--regions", "eu-north-1", "--ca", ca]).await;
    assert!(more.status.success());

    for (variable, file, expected) in [
        (
            "FLEET_CERT",
            "us-east-1.crt",
            "the key does not belong to the certificate",
        ),
        ("FLEET_CA", "eu-west-1.key", "it has no PEM certificate"),
        ("FLEET_KEY", "absent", "cannot be read: No such file"),
    ] {
        let output = pair
            .command(EU, 0)
            .env(variable, pair.file(file))
            .output()
            .await
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let foreign = pair
        .command(EU, 0)
        .env("FLEET_CERT", pair.file("us-east-1.crt"));
    let foreign = foreign.env("FLEET_KEY", pair.file("us-east-1.key"));
    let error = String::from_utf8(foreign.output().await.unwrap().stderr).unwrap();
    let expected = "the certificate is of us-east-1, but this gateway's region is eu-west-1";
    assert!(error.contains(expected), "{error}");
    for (variable, expected) in [
        ("FLEET_CERT", "FLEET_CERT: is required with FLEET_ADDR"),
        (
            "TOKEN_SECRET",
            "TOKEN_SECRET: is required with FLEET_ADDR, and the same in all regions",
        ),
        ("FLEET_ADDR", "peers need FLEET_ADDR"),
    ] {
        let output = pair
            .command(EU, 0)
            .env(variable, "")
            .output()
            .await
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections() {
    let pair = Pair::new().await;
    let directory = pair.certificates.path();
    let eu = pair.command(EU, 0).start().await.unwrap();
    wait_ready(&client(), &eu).await;
    let uri = format!("tidegate://region/{EU}");
    signed(
        directory,
        EU,
        &Shown {
            uris: &[&uri],
            days: 30,
        },
    );
    eu.wait_for_log("the fleet's certificate was renewed")
        .await
        .unwrap();
    let us = pair.command(US, 1).start().await.unwrap();
    wait_for_state(&us, EU, "well").await;
}

#[tokio::test]
async fn connections_that_a_new_ca_does_not_verify_end() {
    let pair = Pair::new().await;
    let eu = pair.command(EU, 0).start().await.unwrap();
    let us = pair.command(US, 1);
    let other = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    certificates(other.path(), &["--regions", US]).await;
    for (file, name) in [
        ("us-east-1.crt", "crt"),
        ("us-east-1.key", "key"),
        ("ca.crt", "ca"),
    ] {
        std::fs::copy(pair.file(file), own.path().join(name)).unwrap();
    }
    let us = us
        .env("FLEET_CERT", own.path().join("crt"))
        .env("FLEET_KEY", own.path().join("key"))
        .env("FLEET_CA", own.path().join("ca"));
    let us = us.start().await.unwrap();
    wait_for_state(&eu, US, "well").await;
    for (file, name) in [
        ("us-east-1.crt", "crt"),
        ("us-east-1.key", "key"),
        ("ca.crt", "ca"),
    ] {
        std::fs::copy(other.path().join(file), own.path().join(name)).unwrap();
    }
    wait_for_state(&eu, US, "unreachable").await;
    wait_for_state(&us, EU, "unreachable").await;
    let refused = "an open connection to a peer is ended";
    us.wait_for_log(refused).await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_does_not_keep_a_region_from_serving_alone() {
    let pair = Pair::new().await;
    let uri = format!("tidegate://region/{EU}");
    let shown = Shown {
        uris: &[&uri],
        days: -1,
    };
    signed(pair.certificates.path(), EU, &shown);
    let eu = pair.command(EU, 0).start().await.unwrap();
    wait_ready(&client(), &eu).await;
    let expired = "the fleet's certificate is expired: peers refuse it";
    eu.wait_for_log(expired).await.unwrap();
    let valid = Shown { days: 1, ..shown };
    signed(pair.certificates.path(), EU, &valid);
    let us = pair.command(US, 1).start().await.unwrap();
    wait_for_state(&us, EU, "well").await;
}

#[tokio::test]
async fn certificates_that_would_share_a_file_are_refused_before_any_is_written() {
    let place = tempfile::tempdir().unwrap();
    for regions in ["eu-west-1,eu-west-1", "eu-west-1,ca"] {
        let output = certificates(place.path(), &["--regions", regions]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("would be written twice"), "{error}");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn in_a_fleet_revisions_come_before_the_built_in_policy_and_a_rollback_returns_to_it() {
    let pair = Pair::new().await;
    let toml = "[fleet]\nname = \"default\"\n";
    let migrate = configured(&pair.cluster, GatewayCommand::new(BINARY, "migrate"), toml);
    printed(migrate.env("DATABASE_URL", pair.cluster.primary.url())).await;
    let gateways = [
        pair.command(EU, 0).start().await.unwrap(),
        pair.command(US, 1).start().await.unwrap(),
    ];
    let text = async |gateway: &GatewayProcess| {
        let answer = client()
            .get(gateway.admin_url("/admin/traffic-policy"))
            .send()
            .await;
        let answer = answer.unwrap();
        let revision = header(&answer, "etag").to_owned();
        (revision, answer.text().await.unwrap())
    };
    let until_text = async |wanted: &str, holds: &dyn Fn(&str) -> bool| {
        for gateway in &gateways {
            until("it is in force", DEADLINE, async || {
                let (revision, text) = text(gateway).await;
                Ok((revision == wanted && holds(&text)).then_some(()))
            })
            .await
            .unwrap();
        }
    };
    until_text("\"0\"", &|text| text.contains("prefer local | nearest")).await;
    // The commands state the same, without the listener and the certificates of a gateway.
    let toml = format!(
        "region = \"{EU}\"\n[fleet]\npeers = [{{ region = \"{US}\", address = \"127.0.0.1:{}\" }}]\n",
        pair.ports[1]
    );
    let show = GatewayCommand::new(BINARY, "policy").arg("show");
    let show = configured(&pair.cluster, show.arg("active").arg("--text"), &toml);
    let shown = printed(show.env("DATABASE_URL", pair.cluster.primary.url())).await;
    assert_eq!(shown, text(&gateways[0]).await.1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traffic.policy");
    let policy =
        "region eu-west-1\nregion us-east-1\npolicy all {\n  prefer us-east-1 | eu-west-1\n}\n";
    std::fs::write(&file, policy).unwrap();
    let run = async |arguments: &[&str]| {
        let command = GatewayCommand::new(BINARY, "policy");
        let command = arguments.iter().fold(command, |all, it| all.arg(it));
        printed(command.env("DATABASE_URL", pair.cluster.primary.url())).await
    };
    run(&["push", &file.display().to_string()]).await;
    run(&["rollout", "1", "--bake", "1ms", "--blast-radius", "100%"]).await;
    until_text("\"1\"", &|text| text == policy).await;
    for gateway in &gateways {
        wait_until(gateway, "both regions' revisions are shown", |view| {
            let all = view.regions.iter().all(|it| it.revision == Some(1));
            view.revision == 1 && view.regions.len() == 2 && all
        })
        .await;
    }
    run(&["rollback"]).await;
    until_text("\"0\"", &|text| text.contains("prefer local | nearest")).await;
}
