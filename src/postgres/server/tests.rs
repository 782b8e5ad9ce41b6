use std::io::Write;

use proptest::prelude::*;
use tokio_postgres::config::TargetSessionAttrs;

use super::*;

fn server(url: &str) -> Server {
    url.parse().unwrap()
}

fn refusal(url: &str) -> ServerError {
    url.parse::<Server>().unwrap_err()
}

#[test]
fn the_parts_of_a_url_reach_the_driver() {
    let server = server("postgres://app:s%40fe@db.internal:6432/shop?connect_timeout=3");
    let config = server.pg_config();
    assert_eq!(config.get_user(), Some("app"));
    assert_eq!(config.get_password(), Some(&b"s@fe"[..]));
    assert_eq!(config.get_hosts(), [Host::Tcp("db.internal".to_owned())]);
    assert_eq!(config.get_ports(), [6432]);
    assert_eq!(config.get_dbname(), Some("shop"));
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
}

#[test]
fn the_modes_are_libpqs() {
    let cases = [
        ("", SslMode::Prefer, Negotiation::Prefer),
        ("?sslmode=disable", SslMode::Disable, Negotiation::Disable),
        ("?sslmode=allow", SslMode::Allow, Negotiation::Disable),
        ("?sslmode=prefer", SslMode::Prefer, Negotiation::Prefer),
        ("?sslmode=require", SslMode::Require, Negotiation::Require),
        ("?ssl=true", SslMode::Require, Negotiation::Require),
        (
            "?sslmode=verify-ca",
            SslMode::VerifyCa,
            Negotiation::Require,
        ),
        (
            "?sslmode=verify%2Dfull",
            SslMode::VerifyFull,
            Negotiation::Require,
        ),
        (
            "?sslrootcert=system",
            SslMode::VerifyFull,
            Negotiation::Require,
        ),
    ];
    for (query, mode, negotiation) in cases {
        let server = server(&format!("postgres://h/db{query}"));
        assert_eq!(server.ssl_mode(), mode, "{query}");
        assert_eq!(server.pg_config().get_ssl_mode(), negotiation, "{query}");
    }
}

#[test]
fn a_root_certificate_makes_require_verify_the_chain() {
    let file = certificate_file();
    let path = file.path().display();
    let server = server(&format!(
        "postgres://h/db?sslmode=require&sslrootcert={path}"
    ));
    assert_eq!(server.ssl_mode(), SslMode::VerifyCa);
}

#[test]
fn public_roots_need_the_hosts_name() {
    let error = refusal("postgres://h/db?sslmode=require&sslrootcert=system");
    assert!(matches!(error, ServerError::WeakMode(SslMode::Require)));
}

#[test]
fn a_unix_socket_has_no_tls() {
    let server = server("postgres://%2Fvar%2Frun/db?sslmode=verify-full");
    assert_eq!(server.ssl_mode(), SslMode::Disable);
}

#[test]
fn a_server_known_by_address_alone_can_speak_tls() {
    let config = server("postgres:///db?hostaddr=127.0.0.1")
        .pg_config()
        .clone();
    assert_eq!(config.get_hosts(), [Host::Tcp("127.0.0.1".to_owned())]);
}

#[test]
fn a_bad_url_is_refused_with_what_is_wrong() {
    let cases = [
        ("", "must start with"),
        ("mysql://h/db", "must start with"),
        ("host=h user=u", "must start with"),
        ("postgres://", "does not name a host"),
        ("postgres:///db", "does not name a host"),
        ("postgres://a,b/db", "several hosts"),
        ("postgres://h:port/db", "`port`"),
        (
            "postgres://h/db?sslmode=o%1Bn",
            "sslmode=on is not one of disable, allow",
        ),
        ("postgres://h/db?sslmode", "name=value"),
        (
            "postgres://h/db?connect_timeout=so%0Aon",
            "`connect_timeout`: \"soon\"",
        ),
        ("postgres:///db?host=/run&port=99999", "`port`: \"99999\""),
        (
            "postgres://app:hunter2@127.0.0.1:99999/db",
            "`port`: \"99999\"",
        ),
        ("postgres://app@[::1]:99999", "`port`: \"99999\""),
        (
            "postgres://h/db?keepalives=x&keepalives=1",
            "invalid value for option `keepalives`",
        ),
        ("postgres://h/db?sslcert=/x.pem", "sslcert and sslkey must"),
    ];
    for (url, expected) in cases {
        let message = refusal(url).to_string();
        assert!(message.contains(expected), "{url}: {message}");
        assert!(!message.contains('\n'), "{url}: {message}");
    }
}

#[test]
fn what_may_be_a_password_is_not_shown() {
    for url in [
        "postgres://app:hunter2/db",
        "postgres://app:hunter2/db?keepalives=1&password=hunter2",
        "postgres://app:hunter2@h:hunter2/db",
    ] {
        let message = refusal(url).to_string();
        assert!(message.contains("`port`"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    // The password's `@` is missing.
    let message = refusal("postgres://app:99999/db").to_string();
    assert!(!message.contains("99999"), "{message}");
}

#[test]
fn a_parameter_without_effect_is_named_and_no_value() {
    let cases = [
        (
            "sslmode=require&connect_timeout=3",
            &["`connect_timeout` is overridden: the gateway sets it to [pool] connect_timeout"][..],
        ),
        ("keepalives=1&user=u&options=-c%20work_mem%3D1MB", &[]),
        ("colour=red", &["`colour` is not known"]),
        (
            "%63olour=red&ssl_mode=hunter2",
            &["`%63olour` is not known", "`ssl_mode` is not known"],
        ),
        (
            "sslmode=disable&sslmode=require",
            &["`sslmode` is overridden by a later one"],
        ),
        (
            "ssl=true&sslmode=require",
            &["`ssl` is overridden by a later one"],
        ),
        ("user=a&%75ser=b", &["`user` is overridden by a later one"]),
        ("application_name=x", &["`application_name` is overridden"]),
        (
            "options=-c%20statement_timeout%3D0",
            &["`options` is overridden: the gateway sets statement_timeout"],
        ),
        ("options=--TimeZone%3DCET", &["the gateway sets timezone"]),
        ("options=-clog_timezone%3DCET", &[]),
        (
            "target_session_attrs=read-write",
            &["`target_session_attrs` is overridden: the gateway sets the role of each server"],
        ),
        (
            "target_session_attrs=primary",
            &["`target_session_attrs` is overridden"],
        ),
        ("target_session_attrs=any", &[]),
        (
            "dbname=hunter2&user=u",
            &["`dbname` overrides what stands before the `?`"],
        ),
    ];
    for (query, expected) in cases {
        let server = server(&format!("postgres://h/db?{query}"));
        let warnings: Vec<_> = server.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), expected.len(), "{query}: {warnings:?}");
        for (warning, expected) in warnings.iter().zip(expected) {
            assert!(warning.contains(expected), "{query}: {warning}");
            assert!(!warning.contains("hunter2"), "{query}: {warning}");
        }
    }
}

#[test]
fn a_parameter_that_replaces_a_part_before_it_is_named_and_no_value() {
    let cases = [
        (
            "u:p@h/db",
            "user=hunter2&password=hunter2",
            &["user", "password"][..],
        ),
        ("u@h/db", "user=hunter2&password=hunter2", &["user"]),
        ("h", "user=hunter2&password=hunter2&dbname=hunter2", &[]),
        ("h/", "dbname=hunter2", &[]),
        (":p@h/", "%75ser=u&password=hunter2", &["password"]),
    ];
    for (before, query, expected) in cases {
        let server = server(&format!("postgres://{before}?{query}"));
        let warnings: Vec<_> = server.warnings().iter().map(ToString::to_string).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|name| format!("the URL parameter `{name}` overrides what stands before the `?`"))
            .collect();
        assert_eq!(warnings, expected, "{before}?{query}");
    }
}

#[test]
fn a_host_or_port_beside_the_urls_own_is_refused_by_name() {
    for (name, value) in [("host", "h"), ("port", "5432"), ("%70ort", "1")] {
        for before in ["h:5432", "h"] {
            let refused = refusal(&format!("postgres://u:p@{before}/db?{name}={value}"));
            let name = name.replace("%70", "p");
            assert!(
                matches!(refused, ServerError::SecondServer(it) if it == name),
                "{name}"
            );
            let message = refused.to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
    }
    let socket = server("postgres:///db?host=/run/postgresql&port=6432");
    assert_eq!(
        (socket.host().as_str(), socket.port()),
        ("/run/postgresql", 6432)
    );
    let refused = refusal("postgres://a,b/db");
    assert!(matches!(refused, ServerError::SeveralHosts), "{refused}");
}

#[test]
fn a_server_is_not_chosen_by_the_role_of_its_sessions() {
    for value in [
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
    ] {
        let server = server(&format!("postgres://h/db?target_session_attrs={value}"));
        let attributes = server.pg_config().get_target_session_attrs();
        assert_eq!(attributes, TargetSessionAttrs::Any, "{value}");
    }
    let message = refusal("postgres://h/db?target_session_attrs=best").to_string();
    assert!(
        message.contains("`target_session_attrs`: \"best\""),
        "{message}"
    );
}

#[test]
fn an_unusable_certificate_is_refused_by_its_files_name() {
    let mut garbage = tempfile::NamedTempFile::new().unwrap();
    garbage.write_all(b"secret key, not PEM").unwrap();
    let garbage = garbage.path().display().to_string();
    for path in ["/nowhere/ca.pem", &garbage] {
        for mode in ["prefer", "require", "verify-full"] {
            let url = format!("postgres://h/db?sslmode={mode}&sslrootcert={path}");
            let message = refusal(&url).to_string();
            assert!(message.contains(path), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}

#[test]
fn the_password_is_masked_wherever_it_was_written() {
    for url in [
        "postgres://u:hunter2@h:1/db",
        "postgres://u@h:1/db?password=hunter2",
    ] {
        let server = server(url);
        let expected = "postgresql://u:***@h:1/db?sslmode=prefer";
        assert_eq!(server.to_string(), expected);
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}

#[test]
fn a_password_that_needs_encoding_is_not_shown_as_a_host() {
    for url in [
        "postgres://u:hun@ter2@h/db",
        "postgres://u:hun/ter2@h/db",
        "postgres://u:1/ter2@h/db",
        "postgres://u:hun?t/er2@h/db",
    ] {
        assert!(matches!(refusal(url), ServerError::Credentials), "{url}");
    }
}

proptest! {
    #[test]
    fn no_message_contains_the_password(
        password in "[a-zA-Z0-9@/?#:%&=,]{0,8}XYZZY[a-zA-Z0-9@/?#:%&=,]{0,8}",
        query in "[a-z]{0,8}(=[a-z]{0,4})?",
    ) {
        let url = format!("postgres://user:{password}@host/db?{query}");
        let message = match url.parse::<Server>() {
            Ok(server) => format!("{server} {server:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!message.contains("XYZZY"), "{}", message);
    }
}

/// Writes a self-signed certificate, valid for a century.
fn certificate_file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(include_bytes!("test_root.pem")).unwrap();
    file
}
