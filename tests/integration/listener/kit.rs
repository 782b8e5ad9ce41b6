//! Certificates of the tests' own authority, and gateways that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use reqwest::Client;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tidegate::testkit::GatewayCommand;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::upstream::kit::{App, Edge, endpoint};
use crate::world::{BINARY, DEADLINE};

/// A certificate and its key, as PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// An authority that signs certificates for `localhost`.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) root: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "the tests' authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, root }
    }

    /// A certificate that is valid in these years.
    pub(super) fn sign(&self, from: i32, until: i32) -> Pair {
        self.sign_with(|params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
        })
    }

    /// One that expires after this time, and is valid now.
    pub(super) fn sign_until(&self, end: SystemTime) -> Pair {
        self.sign_with(|params| {
            params.not_before = date_time_ymd(1970, 1, 1);
            params.not_after = params.not_before + end.duration_since(UNIX_EPOCH).unwrap();
        })
    }

    /// One with an unknown extension that is critical.
    pub(super) fn sign_with_unknown_extension(&self) -> Pair {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        self.sign_with(|params| params.custom_extensions.push(extension))
    }

    fn sign_with(&self, set: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        set(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// One that is valid now.
    pub(super) fn valid(&self) -> Pair {
        self.sign(2020, 2100)
    }

    /// A client that trusts this authority alone, and finds `localhost` there.
    pub(super) fn client(&self) -> Client {
        client_of(&self.root)
    }

    /// A TLS connection with these protocols.
    pub(super) async fn connect(&self, edge: &Edge, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.root.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|it| it.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(edge.gateway.listen()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, socket).await.unwrap()
    }
}

/// A client that trusts a root alone.
pub(super) fn client_of(root: &str) -> Client {
    let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().timeout(DEADLINE).no_proxy();
    builder.tls_certs_only([root]).build().unwrap()
}

/// The two files of a certificate.
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn of(pair: &Pair) -> Self {
        let files = Self(TempDir::new().unwrap());
        files.write(pair);
        files
    }

    pub(super) fn write(&self, pair: &Pair) {
        fs::write(self.certificate(), &pair.certificate).unwrap();
        fs::write(self.key(), &pair.key).unwrap();
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.named("cert")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.named("key")
    }

    pub(super) fn named(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.pem"))
    }

    pub(super) fn directory(&self) -> &Path {
        self.0.path()
    }
}

/// A gateway with a certificate before an application.
pub(super) struct Secure {
    pub(super) authority: Authority,
    pub(super) files: Files,
    pub(super) edge: Edge,
    pub(super) app: App,
    pub(super) client: Client,
}

impl Secure {
    pub(super) async fn start() -> Self {
        Self::before(App::answering(200, "app").await, "").await
    }

    pub(super) async fn before(app: App, more: &str) -> Self {
        let authority = Authority::new();
        let files = Files::of(&authority.valid());
        let (cert, key) = (files.certificate(), files.key());
        let (cert, key) = (cert.display(), key.display());
        let tls = format!("[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
        let endpoint = endpoint("*", "/app/{*rest}", &app.url());
        let edge = Edge::start(&format!("{tls}{more}\n{endpoint}")).await;
        let client = authority.client();
        Self {
            authority,
            files,
            edge,
            app,
            client,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!(
            "https://localhost:{}{path}",
            self.edge.gateway.listen().port()
        )
    }
}

/// A command with variables that are valid but for the certificate.
pub(super) fn command(subcommand: &str) -> GatewayCommand {
    GatewayCommand::new(BINARY, subcommand)
        .env("REGION", "eu-west-1")
        .env("DATABASE_URL", "postgres://app@127.0.0.1:1/app")
}
