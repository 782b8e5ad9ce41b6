//! Handshakes, protocols, and what is refused at the start.

use http::Version;
use tidegate::testkit::GatewayCommand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::kit::{Authority, Files, Secure, command};
use crate::upstream::kit::{App, Raw, endpoint};
use crate::upstream::websocket::{AGREED, HANDSHAKE, echo};
use crate::world::{DEADLINE, printed};

const GET: &str = "GET /app/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// What the other side sends until it closes or resets.
async fn read_to_end(socket: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut read = Vec::new();
    let _reset = timeout(DEADLINE, socket.read_to_end(&mut read))
        .await
        .unwrap();
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn both_protocols_are_served_over_tls_and_applications_are_told_so() {
    let world = Secure::start().await;
    let answer = world.client.get(world.url("/app/x")).send().await.unwrap();
    assert_eq!(
        (answer.version(), answer.status().as_u16()),
        (Version::HTTP_2, 200)
    );
    assert_eq!(world.app.last().field("x-forwarded-proto"), "https");
    assert!(
        world
            .app
            .last()
            .field("forwarded")
            .ends_with(";proto=https")
    );

    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = world.authority.connect(&world.edge, alpn).await;
        stream.write_all(GET.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{alpn:?}: {answer}");
    }
    assert_eq!(world.app.asked().len(), 3);
}

#[tokio::test]
async fn curl_is_served_with_and_without_http2() {
    let world = Secure::start().await;
    let root = world.files.directory().join("root.pem");
    std::fs::write(&root, &world.authority.root).unwrap();
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            flag,
            "--cacert",
        ])
        .arg(&root);
        curl.args(["--write-out", " %{http_version}", &world.url("/app/x")]);
        let output = curl.output().await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("app {version}"),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn cleartext_gets_400_that_says_https_and_nothing_is_carried_out() {
    let world = Secure::start().await;
    let body = "x".repeat(20_000);
    let post =
        format!("POST /app/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20000\r\n\r\n{body}");
    for request in [GET, &GET.replace("1.1", "1.0"), &post] {
        let mut socket = TcpStream::connect(world.edge.gateway.listen())
            .await
            .unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(
            answer.contains("https") && answer.contains("connection: close"),
            "{answer}"
        );
    }
    for other in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\0\0\0",
        "SSH-2.0-x\r\n",
        "x",
    ] {
        let mut socket = TcpStream::connect(world.edge.gateway.listen())
            .await
            .unwrap();
        socket.write_all(other.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut socket).await, "", "{other:?}");
    }
    assert!(world.app.asked().is_empty());
}

#[tokio::test]
async fn five_hundred_handshakes_that_never_finish_cost_no_request() {
    let world = Secure::before(
        App::answering(200, "app").await,
        "[server]\nheader_timeout = \"2s\"\n",
    )
    .await;
    let mut stalled = Vec::new();
    for _ in 0..500 {
        let mut socket = TcpStream::connect(world.edge.gateway.listen())
            .await
            .unwrap();
        // The beginning of a record that never comes.
        socket.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        stalled.push(socket);
    }
    for _ in 0..20 {
        let client = world.authority.client();
        let answer = client.get(world.url("/app/x")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    for socket in &mut stalled {
        assert_eq!(read_to_end(socket).await, "", "the time of a head is over");
    }
}

/// Files of a certificate and a key, and the one that is named with the reason.
const UNUSABLE: [(&str, &str, &str, &str); 11] = [
    ("cert", "other-key", "other-key", "not the key of"),
    ("absent", "key", "absent", "cannot be read: No such file"),
    ("cert", "absent", "absent", "cannot be read: No such file"),
    ("garbage", "key", "garbage", "no PEM certificate"),
    ("chain", "key", "chain", "its certificate 2 is not an X.509"),
    ("unfit", "unfit-key", "unfit", "it must be of version 3"),
    ("cert", "garbage", "garbage", "no PEM private key"),
    ("cert", "no-key", "no-key", "the key must be RSA of 2,048"),
    ("cert", "encrypted", "encrypted", "the key is encrypted"),
    (
        "expired",
        "expired-key",
        "expired",
        "expired on 2021-01-01T",
    ),
    (
        "later",
        "later-key",
        "later",
        "not valid before 2090-01-01T",
    ),
];

/// A section of PEM whose content means nothing.
fn section(name: &str) -> String {
    format!("-----BEGIN {name}-----\nAAAA\n-----END {name}-----\n")
}

/// Status and standard error of a command.
async fn refusal(command: GatewayCommand) -> (Option<i32>, String) {
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_is_refused_at_the_start_by_its_file() {
    let authority = Authority::new();
    let valid = authority.valid();
    let files = Files::of(&valid);
    let chain = format!("{}{}", valid.certificate, section("CERTIFICATE"));
    let (expired, later) = (authority.sign(2020, 2021), authority.sign(2090, 2091));
    let unfit = authority.sign_with_unknown_extension();
    for (name, text) in [
        ("other-key", &authority.valid().key),
        ("expired", &expired.certificate),
        ("expired-key", &expired.key),
        ("later", &later.certificate),
        ("later-key", &later.key),
        ("garbage", &"hunter2".to_owned()),
        ("chain", &chain),
        ("unfit", &unfit.certificate),
        ("unfit-key", &unfit.key),
        ("no-key", &section("PRIVATE KEY")),
        ("encrypted", &section("ENCRYPTED PRIVATE KEY")),
    ] {
        std::fs::write(files.named(name), text).unwrap();
    }
    for (certificate, key, named, why) in UNUSABLE {
        for subcommand in ["serve", "check"] {
            let command = command(subcommand)
                .env("TLS_CERT", files.named(certificate))
                .env("TLS_KEY", files.named(key));
            let (status, said) = refusal(command).await;
            let named = files.named(named).display().to_string();
            assert_eq!(status, Some(2), "{said}");
            assert!(said.contains(&named) && said.contains(why), "{said}");
            assert!(
                said.lines().count() == 1 && !said.contains("hunter2"),
                "{said}"
            );
        }
    }
}

#[tokio::test]
async fn both_files_of_a_pair_are_needed_and_check_says_how_long_it_is_valid() {
    let files = Files::of(&Authority::new().valid());
    for (one, other) in [("TLS_CERT", "TLS_KEY"), ("TLS_KEY", "TLS_CERT")] {
        let (status, said) = refusal(command("check").env(one, files.certificate())).await;
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(&format!("{other}: is required")), "{said}");
    }
    let check = command("check").env("TLS_CERT", files.certificate());
    let said = printed(check.env("TLS_KEY", files.key())).await;
    let line = format!(
        "{} is valid until 2100-01-01T00:00:00Z",
        files.certificate().display()
    );
    assert!(said.contains(&line), "{said}");
}

/// The handshake of `openssl s_client` with these options: its output, if one was possible.
async fn s_client(world: &Secure, options: &[&str]) -> Option<String> {
    let mut client = Command::new("openssl");
    let address = world.edge.gateway.listen().to_string();
    client
        .args(["s_client", "-connect", &address])
        .args(options);
    let output = client
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[tokio::test]
async fn no_old_protocol_and_no_weak_cipher_is_offered() {
    let world = Secure::start().await;
    for (protocol, cipher, is_offered) in [
        ("-tls1", "ALL:@SECLEVEL=0", false),
        ("-tls1_1", "ALL:@SECLEVEL=0", false),
        ("-tls1_2", "ECDHE+AESGCM", true),
        ("-tls1_2", "ECDHE+CHACHA20", true),
        // CBC, then key exchange without forward secrecy or with finite fields, then no encryption.
        (
            "-tls1_2",
            "ECDHE+SHA:ECDHE+SHA256:ECDHE+SHA384:@SECLEVEL=0",
            false,
        ),
        ("-tls1_2", "kRSA:kDHE:aNULL:eNULL:@SECLEVEL=0", false),
    ] {
        let options = [protocol, "-cipher", cipher];
        let shaken = s_client(&world, &options).await;
        assert_eq!(shaken.is_some(), is_offered, "{options:?}");
    }
    let shaken = s_client(&world, &["-tls1_3"]).await.unwrap();
    assert!(shaken.contains("Compression: NONE"), "{shaken}");
    assert!(shaken.contains("Early data was not sent"), "{shaken}");
}

#[tokio::test]
async fn a_websocket_passes_over_tls() {
    let echo = echo(AGREED).await;
    let url = format!("http://{}", echo.address);
    let app = App::answering(200, "app").await;
    let world = Secure::before(app, &endpoint("GET", "/app/ws", &url)).await;
    let mut raw = Raw(world.authority.connect(&world.edge, &["http/1.1"]).await);
    raw.send(HANDSHAKE).await;
    let answer = raw.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    raw.send("over TLS").await;
    raw.read_until("over TLS").await;
}
