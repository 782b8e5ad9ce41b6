//! `[tls]`: the certificate of the public listener.

use tidegate_model::settings::Setting;

const CERT_RANGE: &str = "the path of a PEM file: the certificate, then its chain";
const KEY_RANGE: &str = "the path of a PEM file: the unencrypted private key";

/// The certificate of the public listener.
pub const TLS_CERT: Setting = Setting {
    key: "tls.cert",
    variable: Some("TLS_CERT"),
    default: || "none".to_owned(),
    range: || CERT_RANGE.to_owned(),
    meaning: "The certificate of the public listener, which then [speaks TLS](security.md#tls-for-clients) and \
              nothing else. `TLS_KEY` is set too, or neither is.",
    ..Setting::UNNAMED
};

/// The key of that certificate.
pub const TLS_KEY: Setting = Setting {
    key: "tls.key",
    variable: Some("TLS_KEY"),
    default: || "none".to_owned(),
    range: || KEY_RANGE.to_owned(),
    meaning: "The private key of that certificate.",
    ..Setting::UNNAMED
};

/// `[tls]`: the same as a section.
pub const TLS_SECTION: &[Setting] = &[
    Setting {
        key: "cert",
        variable: None,
        meaning: "As `TLS_CERT`. Renewed files are taken over without a reload.",
        ..TLS_CERT
    },
    Setting {
        key: "key",
        variable: None,
        meaning: "As `TLS_KEY`.",
        ..TLS_KEY
    },
];
