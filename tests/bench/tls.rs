//! TLS, beside nginx with the same certificate: cached hits with the same cipher, and full handshakes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedCipherSuite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::cached::nginx_of;
use super::contest::{Contender, Pace, Rounds, hold};
pub(crate) use super::cores::cpu_seconds;
use super::load::{Sample, Wrk, client};
use super::machine::Machine;
use super::process::{Server, file};
use super::report::{Report, say};
use super::scene::{BODY_BYTES, Scene, Setting};

const PATH: &str = "/cached/1";

const GONE: &str = "the server has ended";

/// Clients that shake hands at the same time.
const HANDSHAKES: usize = 16;

pub(crate) async fn measure(
    scene: &Scene,
    machine: &Machine,
    pace: &Pace,
    report: &mut Report,
) -> Result<()> {
    say("TLS, server on one core");
    let core = machine.server_core();
    let (certificate, key) = pair(scene)?;
    let (certificate, key) = (certificate.display(), key.display());
    let setting = Setting {
        core,
        sections: format!("[tls]\ncert = \"{certificate}\"\nkey = \"{key}\"\n"),
        ..Setting::default()
    };
    let (command, listen, admin) = scene.command(&setting)?;
    let tidegate = Server::start(command, listen).await?;
    ready(admin).await?;
    let clear = scene
        .gateway(&Setting {
            core,
            ..Setting::default()
        })
        .await?;
    let _stored = client()?.get(clear.url(PATH)).send().await?;
    let ssl = format!(
        " ssl;\nssl_certificate {certificate};\nssl_certificate_key {key};\n\
         ssl_protocols TLSv1.2 TLSv1.3"
    );
    let nginx = nginx_of(scene, core, &clear.server, "off", &ssl).await?;
    let servers = [("tidegate", &tidegate), ("nginx", &nginx)];
    let ciphers = [cipher(&tidegate).await?, cipher(&nginx).await?];
    ensure!(ciphers[0] == ciphers[1], "not the same cipher: {ciphers:?}");

    let hits = servers.map(|(name, server)| {
        let wrk = Wrk {
            url: format!("https://{}{PATH}", server.address),
            seconds: pace.seconds,
            core: machine.load_core(),
            script: None,
        };
        Contender::server(format!("{name}, cached hit over TLS"), wrk)
    });
    let hits = hold(pace, &hits).await?;
    let handshakes = servers.map(|(name, server)| handshakes(name, server, pace));
    let handshakes = hold(pace, &handshakes).await?;
    conclude(&hits, &handshakes, ciphers[0], report);
    Ok(())
}

fn conclude(
    hits: &[Rounds],
    handshakes: &[Rounds],
    cipher: SupportedCipherSuite,
    report: &mut Report,
) {
    let [hit, nginx_hit] = hits else {
        unreachable!("as many as contenders")
    };
    let [shaken, nginx_shaken] = handshakes else {
        unreachable!("as many as contenders")
    };
    let ratio = hit.against(nginx_hit);
    let cipher = cipher.suite();
    report.row(
        format!(
            "cached hit over TLS, {BODY_BYTES} bytes, 64 connections, server on one core, against nginx \
             `proxy_cache`, both {cipher:?}"
        ),
        format!(
            "{:.0}/s to {:.0}/s: **{ratio:.2} ×**",
            hit.per_second, nginx_hit.per_second
        ),
        "≥ 1.2 ×",
        ratio >= 1.2,
    );
    let ratio = shaken.against(nginx_shaken);
    report.row(
        "full TLS 1.3 handshakes with a P-256 key, per second of the server's CPU time, against nginx",
        format!(
            "{:.0} to {:.0}: **{ratio:.2} ×**",
            shaken.per_second, nginx_shaken.per_second
        ),
        "≥ 0.9 ×",
        ratio >= 0.9,
    );
    report.detail("TLS: server on one core, load on another", hits);
    report.detail(
        "Full handshakes, per second of the server's CPU time",
        handshakes,
    );
}

/// A certificate and its key, as files.
fn pair(scene: &Scene) -> Result<(PathBuf, PathBuf)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((
        file(&scene.directory, "cert.pem", &certificate)?,
        file(&scene.directory, "key.pem", &key.serialize_pem())?,
    ))
}

async fn ready(admin: SocketAddr) -> Result<()> {
    let client = client()?;
    let ready = async || {
        let url = format!("http://{admin}/readyz");
        client.get(url).send().await?.error_for_status()?;
        Ok(Some(()))
    };
    tidegate::testkit::until("the gateway is ready", Duration::from_secs(30), ready).await
}

/// The cipher that a server chooses.
async fn cipher(server: &Server) -> Result<SupportedCipherSuite> {
    let stream = shake(&connector()?, server.address).await?;
    let chosen = stream.get_ref().1.negotiated_cipher_suite();
    chosen.context("no cipher was chosen")
}

/// Full handshakes one after another, counted per second of the CPU time that the server takes for
/// them: on two cores the clients would be the slower side.
fn handshakes(name: &str, server: &Server, pace: &Pace) -> Contender {
    let (address, pid) = (server.address, server.pid());
    let seconds = pace.seconds;
    let run = move || {
        async move {
            let end = Instant::now() + Duration::from_secs(seconds.into());
            let before = cpu_seconds(pid.context(GONE)?)?;
            let clients = (0..HANDSHAKES).map(|_| tokio::spawn(shake_until(address, end)));
            let mut count = 0;
            for client in futures_util::future::join_all(clients).await {
                count += client??;
            }
            let taken = cpu_seconds(pid.context(GONE)?)? - before;
            Ok(Sample {
                per_second: f64::from(count) / taken,
                p99_ms: None,
                cores: None,
            })
        }
        .boxed()
    };
    Contender::of(format!("{name}, full handshakes"), run)
}

async fn shake_until(address: SocketAddr, end: Instant) -> Result<u32> {
    let connector = connector()?;
    let mut count = 0;
    while let Ok(shaken) = timeout_at(end, shake(&connector, address)).await {
        shaken?;
        count += 1;
    }
    Ok(count)
}

async fn shake(connector: &TlsConnector, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(connector
        .connect(ServerName::try_from("localhost")?, socket)
        .await?)
}

/// A client that resumes nothing and verifies nothing, so that it is cheaper than the server.
fn connector() -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Trusting(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
pub(crate) struct Trusting(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
