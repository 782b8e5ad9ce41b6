//! What opens a bucket: a secret, or the role that the process has.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::by_name::ByName;
use super::provider::Provider;

/// Longest credentials that are read, as text.
pub const CREDENTIALS_BYTES_MAX: usize = 64 << 10;
/// The longest id of an access key.
const KEY_ID_BYTES_MAX: usize = 256;
/// The longest ARN.
const ARN_BYTES_MAX: usize = 2_048;
/// The digits of an account of AWS.
const ACCOUNT_DIGITS: usize = 12;
/// The longest name of a role.
const ROLE_BYTES_MAX: usize = 64;
/// What an id that cannot be used is answered with.
const KEY_ID_EXPECTED: &str = "accessKeyId: expected 1 to 256 visible characters of ASCII";
const SECRET_EXPECTED: &str = "secretAccessKey: expected a secret without control characters";

/// What opens a bucket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum BucketCredentials {
    /// An access key; of Azure, the storage account and its key.
    Key {
        /// The id of the access key.
        access_key_id: String,
        /// Its secret.
        secret_access_key: String,
    },
    /// A service account of Google Cloud.
    ServiceAccount {
        /// The account.
        service_account: ServiceAccount,
    },
    /// No secret: the process proves what it is.
    Role {
        /// Which role it takes.
        role: Role,
    },
}

/// What Google writes into a service account's JSON, as far as it is used: where tokens are issued and
/// which endpoint they are sent to is not taken from it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    client_email: String,
    private_key_id: String,
    private_key: String,
}

/// Which role opens a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// What the process runs as: ECS task role, instance profile, workload or managed identity.
    Process,
    /// A role of AWS that the process takes with its web identity (IRSA).
    Assumed(String),
}

impl Role {
    /// The role of AWS that has an ARN.
    ///
    /// # Errors
    /// Says what is expected.
    pub fn assumed(arn: &str) -> Result<Self, &'static str> {
        let is_plain = arn.len() <= ARN_BYTES_MAX && arn.bytes().all(|it| it.is_ascii_graphic());
        match is_plain && is_role(arn) {
            true => Ok(Self::Assumed(arn.to_owned())),
            false => Err("expected the ARN of a role, such as arn:aws:iam::123456789012:role/NAME"),
        }
    }
}

impl fmt::Debug for BucketCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { access_key_id, .. } => write!(f, "Key({access_key_id}, …)"),
            Self::ServiceAccount { service_account } => {
                write!(f, "ServiceAccount({}, …)", service_account.client_email)
            }
            Self::Role { role } => write!(f, "{role:?}"),
        }
    }
}

/// The forms of credentials as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Account(ByName<ServiceAccount>),
    #[serde(rename_all = "camelCase")]
    Key {
        access_key_id: String,
        secret_access_key: String,
    },
}

impl BucketCredentials {
    /// Reads credentials from JSON: Google's of a service account, or `accessKeyId` and `secretAccessKey`.
    ///
    /// # Errors
    /// Says what is expected, and nothing of the text.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        match serde_json::from_str(text) {
            Ok(Given::Account(ByName(service_account))) => {
                Ok(Self::ServiceAccount { service_account })
            }
            Ok(Given::Key { access_key_id, .. }) if !is_key_id(&access_key_id) => {
                Err(KEY_ID_EXPECTED)
            }
            Ok(Given::Key {
                secret_access_key, ..
            }) if !is_secret(&secret_access_key) => Err(SECRET_EXPECTED),
            Ok(Given::Key {
                access_key_id,
                secret_access_key,
            }) => Ok(Self::Key {
                access_key_id,
                secret_access_key,
            }),
            Err(_unreadable) => Err(
                "expected the JSON of a service account, or {\"accessKeyId\": …, \"secretAccessKey\": …}",
            ),
        }
    }

    /// Whether a provider knows credentials of this kind, and can be sent them.
    ///
    /// # Errors
    /// Says what is expected.
    pub(super) fn suit(&self, provider: Provider) -> Result<(), String> {
        if let Self::Key {
            access_key_id,
            secret_access_key,
        } = self
        {
            if !is_key_id(access_key_id) {
                return Err(KEY_ID_EXPECTED.to_owned());
            }
            if !is_secret(secret_access_key) {
                return Err(SECRET_EXPECTED.to_owned());
            }
        }
        let expected = match (provider, self) {
            (Provider::File, _) => "none",
            (
                Provider::Gcp,
                Self::Role {
                    role: Role::Assumed(_),
                },
            ) => "a service account, an HMAC key or the role of the process",
            (
                Provider::Azure,
                Self::ServiceAccount { .. }
                | Self::Role {
                    role: Role::Assumed(_),
                },
            ) => "a storage account with its key, or the role of the process",
            (Provider::S3, Self::ServiceAccount { .. } | Self::Role { .. }) => "an access key",
            (Provider::Aws, Self::ServiceAccount { .. }) => "an access key or a role",
            (Provider::Aws | Provider::Gcp | Provider::Azure | Provider::S3, _) => return Ok(()),
        };
        let field = match self {
            Self::Key { .. } => "accessKeyId",
            Self::ServiceAccount { .. } => "serviceAccount",
            Self::Role { .. } => "role",
        };
        Err(format!("{field}: {provider} takes {expected}"))
    }
}

/// Whether a text can be the id of an access key: it is sent in a header, where `object_store` expects
/// visible ASCII and panics otherwise.
fn is_key_id(text: &str) -> bool {
    (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic())
}

/// Whether a text can be a secret: no provider makes one with a line break or U+0000, which come from copying.
fn is_secret(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Whether a text is `arn:PARTITION:iam::ACCOUNT:role/NAME`, with any path before the name.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
fn is_role(arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, role] = parts[..] else {
        return false;
    };
    let in_partition = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    let name = role.strip_prefix("role/");
    let name = name.and_then(|role| role.rsplit('/').next());
    let name = name.unwrap_or_default();
    (partition == "aws" || partition.starts_with("aws-"))
        && partition.bytes().all(in_partition)
        && account.len() == ACCOUNT_DIGITS
        && account.bytes().all(|it| it.is_ascii_digit())
        && (1..=ROLE_BYTES_MAX).contains(&name.len())
        && name.bytes().all(in_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = r#"{"type": "service_account", "client_email": "a@b", "private_key_id": "1",
        "private_key": "secret", "token_uri": "http://attacker", "gcs_base_url": "http://attacker",
        "disable_oauth": true}"#;

    #[test]
    fn only_what_is_needed_is_taken_from_the_json_of_a_service_account() {
        let account = BucketCredentials::read(ACCOUNT).unwrap();
        let kept = serde_json::to_string(&account).unwrap();
        assert!(
            !kept.contains("attacker") && !kept.contains("disable_oauth"),
            "{kept}"
        );
        assert_eq!(
            serde_json::from_str::<BucketCredentials>(&kept).unwrap(),
            account
        );
        assert!(!format!("{account:?}").contains("secret"));
        assert!(BucketCredentials::read(r#"["a@b", "1", "secret"]"#).is_err());
    }

    #[test]
    fn rows_that_have_an_access_key_are_read_as_before() {
        let row = r#"{"accessKeyId": "id", "secretAccessKey": "secret"}"#;
        let key = serde_json::from_str::<BucketCredentials>(row).unwrap();
        assert_eq!(BucketCredentials::read(row), Ok(key.clone()));
        assert!(!format!("{key:?}").contains("secret"));
        for wrong in ["", "{}", "null", "[]", r#"{"accessKeyId": "secret"}"#] {
            let said = BucketCredentials::read(wrong).unwrap_err();
            assert!(!said.contains("\"secret\""), "{said}");
            assert!(serde_json::from_str::<BucketCredentials>(wrong).is_err());
        }
    }

    #[test]
    fn an_id_that_cannot_be_sent_is_refused_wherever_it_comes_from() {
        for id in ["a\nb", "ключ", "", "a b", "a\u{7f}", &"x".repeat(257)] {
            let given = serde_json::json!({"accessKeyId": id, "secretAccessKey": "secret"});
            assert_eq!(
                BucketCredentials::read(&given.to_string()),
                Err(KEY_ID_EXPECTED)
            );
            // As an older version may have stored it.
            let stored: BucketCredentials = serde_json::from_value(given).unwrap();
            for provider in [Provider::S3, Provider::Aws, Provider::Gcp, Provider::Azure] {
                assert_eq!(stored.suit(provider), Err(KEY_ID_EXPECTED.to_owned()));
            }
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        for secret in ["", "a\u{0}b", "secret\n", "\u{7f}"] {
            let given = serde_json::json!({"accessKeyId": "id", "secretAccessKey": secret});
            let read = BucketCredentials::read(&given.to_string());
            assert_eq!(read, Err(SECRET_EXPECTED));
            let stored: BucketCredentials = serde_json::from_value(given).unwrap();
            assert_eq!(stored.suit(Provider::S3), Err(SECRET_EXPECTED.to_owned()));
        }
        let given = r#"{"accessKeyId": "id", "secretAccessKey": "a/b+c d\u00e9"}"#;
        assert!(BucketCredentials::read(given).is_ok());
    }

    #[test]
    fn a_role_has_the_arn_of_a_role() {
        for arn in [
            "arn:aws:iam::123456789012:role/a",
            "arn:aws-us-gov:iam::123456789012:role/path/to/A+=,.@_-1",
            "arn:aws-cn:iam::123456789012:role/!/a",
        ] {
            assert_eq!(Role::assumed(arn), Ok(Role::Assumed(arn.to_owned())));
        }
        let long = "x".repeat(2_048);
        for wrong in [
            "foo",
            "",
            "arn:",
            "arn:a b",
            &format!("arn:{long}"),
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a/",
            "arn:aws:iam::123456789012:role/a:b",
            &format!("arn:aws:iam::123456789012:role/{}", "x".repeat(65)),
            &format!("arn:aws:iam::123456789012:role/{long}/a"),
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam::12345678901:role/a",
            "arn:aws:iam::12345678901x:role/a",
            "arn:aws:iam:eu-west-1:123456789012:role/a",
            "arn:aws:sts::123456789012:assumed-role/a",
            "arn:gcp:iam::123456789012:role/a",
            "arn::iam::123456789012:role/a",
        ] {
            assert!(Role::assumed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_suit_their_provider_only() {
        let account = BucketCredentials::read(ACCOUNT).unwrap();
        let role = |role| BucketCredentials::Role { role };
        for (credentials, provider, suits) in [
            (&account, Provider::Gcp, true),
            (&account, Provider::Aws, false),
            (&account, Provider::Azure, false),
            (&role(Role::Process), Provider::Azure, true),
            (&role(Role::Process), Provider::S3, false),
            (&role(Role::Process), Provider::File, false),
            (&role(Role::Assumed("arn".to_owned())), Provider::Aws, true),
            (&role(Role::Assumed("arn".to_owned())), Provider::Gcp, false),
        ] {
            let suited = credentials.suit(provider);
            assert_eq!(suited.is_ok(), suits, "{credentials:?} {provider}");
            let field = match credentials {
                BucketCredentials::Role { .. } => "role: ",
                _ => "serviceAccount: ",
            };
            assert!(suited.err().is_none_or(|why| why.starts_with(field)));
        }
    }
}
