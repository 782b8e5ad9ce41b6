//! Which repository a host name means: `NAME.domain` is one. Every other name, and every address, leaves that
//! to the path.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

use crate::storage::settings::StorageSettings;

/// The names of the listener.
pub(super) struct Hosts {
    /// In lower case, without a port.
    domain: String,
    /// The name of this gateway.
    endpoint: String,
}

impl Hosts {
    /// Those that the settings name; none without a domain.
    pub(super) fn of(settings: &StorageSettings) -> Option<Self> {
        let has_domain = !settings.domain.is_empty();
        has_domain.then(|| Self {
            domain: settings.domain.to_ascii_lowercase(),
            endpoint: settings.endpoint.to_ascii_lowercase(),
        })
    }

    /// The repository that a host names.
    fn repository(&self, host: &str) -> Option<String> {
        let name = without_port(host).to_ascii_lowercase();
        let below = name.strip_suffix(&self.domain)?.strip_suffix('.')?;
        if name == self.endpoint {
            return None;
        }
        let repository = match below.rsplit_once('.') {
            Some((repository, label)) if self.is_endpoint(label) => repository,
            None if self.is_endpoint(below) => return None,
            _ => below,
        };
        Some(repository.to_owned())
    }

    /// Whether a label below the domain is the name of a gateway, this one or that of another region.
    fn is_endpoint(&self, label: &str) -> bool {
        let own = self.endpoint.strip_suffix(&self.domain);
        let own = own.and_then(|own| own.strip_suffix('.'));
        own == Some(label) || label.starts_with("s3-") && label.ends_with("-aws")
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let named = VirtualHost::new(host);
        Ok(match self.repository(host) {
            Some(repository) => named.with_bucket(repository),
            None => named,
        })
    }
}

/// A host without its port, and without the dot that a full name may end in.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(domain: &str, endpoint: &str) -> Hosts {
        let settings = StorageSettings {
            domain: domain.to_owned(),
            endpoint: endpoint.to_owned(),
            ..StorageSettings::default()
        };
        Hosts::of(&settings).unwrap()
    }

    #[test]
    fn a_label_below_the_domain_is_a_repository_with_any_port_and_in_any_case() {
        let hosts = hosts("s3.example.test", "");
        for (host, repository) in [
            ("rep.s3.example.test", Some("rep")),
            ("rep.s3.example.test:26100", Some("rep")),
            ("REP.S3.Example.Test", Some("rep")),
            ("rep.s3.example.test.", Some("rep")),
            ("a.b.s3.example.test", Some("a.b")),
            ("s3.example.test", None),
            ("s3.example.test:26100", None),
            ("S3.example.test", None),
            ("xs3.example.test", None),
            ("example.test", None),
            ("localhost:26100", None),
            ("192.0.2.1:26100", None),
            ("[::1]:26100", None),
            ("::1", None),
            ("s3-eu-west-1-aws.example.test", None),
            ("", None),
        ] {
            let found = hosts.repository(host);
            assert_eq!(found.as_deref(), repository, "{host}");
            let parsed = hosts.parse_host_header(host).unwrap();
            assert_eq!(parsed.bucket(), repository, "{host}");
        }
    }

    #[test]
    fn the_name_of_a_gateway_below_the_domain_is_no_repository() {
        let hosts = hosts("example.test", "edge-1.example.test");
        for (host, repository) in [
            ("s3-eu-west-1-aws.example.test", None),
            ("S3-us-east-1-aws.example.test:443", None),
            ("edge-1.example.test", None),
            ("rep.edge-1.example.test", Some("rep")),
            ("rep.s3-eu-west-1-aws.example.test", Some("rep")),
            ("s3-logs.example.test", Some("s3-logs")),
        ] {
            assert_eq!(hosts.repository(host).as_deref(), repository, "{host}");
        }
    }
}
