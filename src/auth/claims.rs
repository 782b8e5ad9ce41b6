//! The claims of a verified token, and whether they are valid here and now (RFC 7519, section 4.1).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::AuthError;
use crate::http::json_text;

/// How far an issuer's clock may differ from this machine's.
const LEEWAY: Duration = Duration::from_secs(30);

/// The claims of an accepted token, each as written in the token.
#[derive(Debug, Clone, Default)]
pub struct Claims(pub BTreeMap<String, Box<RawValue>>);

impl Claims {
    /// The text of a claim, as bound by a statement; `None` if it is absent, `null` or has no text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        json_text(self.0.get(name)?)
    }

    /// The claim `sub`, which is not empty.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.read("sub").ok().flatten()
    }

    /// The value of a claim of a known type; `None` if it is absent.
    fn read<'a, T: Deserialize<'a>>(&'a self, name: &'static str) -> Result<Option<T>, AuthError> {
        let json = self.0.get(name).map(|json| json.get());
        let value = json.map(serde_json::from_str).transpose();
        value.map_err(|_not_shown| AuthError::Claim(name.into()))
    }
}

/// The requirements for the claims of every token.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
}

impl Rules {
    /// Checks the claims and makes them available. `exp` is required; a token may be used 30 s
    /// after it and 30 s before `nbf`.
    pub(super) fn check(&self, claims: Claims, now: SystemTime) -> Result<Claims, AuthError> {
        check_times(&claims, now)?;
        self.check_audience(&claims)?;
        self.check_issuer(&claims)?;
        match claims.read::<String>("sub")? {
            Some(subject) if subject.is_empty() => Err(AuthError::Claim("sub".into())),
            _ => Ok(claims),
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), AuthError> {
        let Some(expected) = &self.audience else {
            return Ok(());
        };
        let is_named = match claims.read("aud")? {
            Some(Value::String(audience)) => audience == *expected,
            Some(Value::Array(audiences)) => audiences.iter().any(|it| it == expected),
            _ => return Err(AuthError::Claim("aud".into())),
        };
        if is_named {
            Ok(())
        } else {
            Err(AuthError::Audience)
        }
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), AuthError> {
        let Some(expected) = &self.issuer else {
            return Ok(());
        };
        match claims.read::<String>("iss")? {
            None => Err(AuthError::Claim("iss".into())),
            Some(issuer) if issuer == *expected => Ok(()),
            Some(_) => Err(AuthError::Issuer),
        }
    }
}

fn check_times(claims: &Claims, now: SystemTime) -> Result<(), AuthError> {
    // A clock before 1970 would make every token look valid for long, so it counts as the end of
    // time.
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(f64::INFINITY, |it| it.as_secs_f64());
    let leeway = LEEWAY.as_secs_f64();
    let expires: Option<f64> = claims.read("exp")?;
    let expires = expires.ok_or(AuthError::Claim("exp".into()))?;
    if now >= expires + leeway {
        return Err(AuthError::Expired);
    }
    match claims.read::<f64>("nbf")? {
        Some(not_before) if now + leeway < not_before => Err(AuthError::NotYetValid),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn check(rules: &Rules, claims: &Value) -> Result<Claims, AuthError> {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        rules.check(parsed(&claims.to_string()), now)
    }

    fn parsed(claims: &str) -> Claims {
        Claims(serde_json::from_str(claims).unwrap())
    }

    impl PartialEq for Claims {
        fn eq(&self, other: &Self) -> bool {
            format!("{self:?}") == format!("{other:?}")
        }
    }

    fn with(field: &str, value: Value) -> Value {
        let mut claims = json!({ "exp": NOW + 60 });
        claims[field] = value;
        claims
    }

    #[test]
    fn a_token_expires_after_the_leeway() {
        let rules = Rules::default();
        assert!(check(&rules, &json!({ "exp": NOW - 29 })).is_ok());
        assert_eq!(
            check(&rules, &json!({ "exp": NOW - 30 })),
            Err(AuthError::Expired)
        );
        assert_eq!(
            check(&rules, &json!({ "exp": NOW as f64 - 30.5 })),
            Err(AuthError::Expired)
        );
    }

    #[test]
    fn a_token_without_a_usable_end_is_refused() {
        let rules = Rules::default();
        for claims in [
            json!({}),
            json!({ "exp": "tomorrow" }),
            json!({ "exp": null }),
        ] {
            assert_eq!(
                check(&rules, &claims),
                Err(AuthError::Claim("exp".into())),
                "{claims}"
            );
        }
    }

    #[test]
    fn a_token_for_later_is_refused_until_the_leeway() {
        let rules = Rules::default();
        assert!(check(&rules, &with("nbf", json!(NOW + 30))).is_ok());
        let later = check(&rules, &with("nbf", json!(NOW + 31)));
        assert_eq!(later, Err(AuthError::NotYetValid));
        let malformed = check(&rules, &with("nbf", json!("now")));
        assert_eq!(malformed, Err(AuthError::Claim("nbf".into())));
    }

    #[test]
    fn the_audience_must_be_among_those_named() {
        let rules = Rules {
            audience: Some("tidegate".to_owned()),
            issuer: None,
        };
        assert!(check(&rules, &with("aud", json!("tidegate"))).is_ok());
        assert!(check(&rules, &with("aud", json!(["other", "tidegate"]))).is_ok());
        assert_eq!(
            check(&rules, &with("aud", json!("other"))),
            Err(AuthError::Audience)
        );
        assert_eq!(
            check(&rules, &with("aud", json!([]))),
            Err(AuthError::Audience)
        );
        assert_eq!(
            check(&rules, &with("x", json!(1))),
            Err(AuthError::Claim("aud".into()))
        );
    }

    #[test]
    fn the_issuer_must_be_the_one_configured_and_a_string() {
        let rules = Rules {
            audience: None,
            issuer: Some("https://issuer".to_owned()),
        };
        assert!(check(&rules, &with("iss", json!("https://issuer"))).is_ok());
        assert_eq!(
            check(&rules, &with("iss", json!("https://evil"))),
            Err(AuthError::Issuer)
        );
        let array = with("iss", json!(["https://evil", "https://issuer"]));
        assert_eq!(check(&rules, &array), Err(AuthError::Claim("iss".into())));
        assert_eq!(
            check(&rules, &with("x", json!(1))),
            Err(AuthError::Claim("iss".into()))
        );
    }

    #[test]
    fn audience_and_issuer_are_not_looked_at_unless_configured() {
        let claims = json!({ "exp": NOW + 60, "aud": 1, "iss": ["x"] });
        assert!(check(&Rules::default(), &claims).is_ok());
    }

    #[test]
    fn a_subject_is_absent_or_a_name() {
        let rules = Rules::default();
        assert_eq!(check(&rules, &with("x", json!(1))).unwrap().subject(), None);
        let alice = check(&rules, &with("sub", json!("alice"))).unwrap();
        assert_eq!(alice.subject().as_deref(), Some("alice"));
        for subject in [json!(""), json!(7), json!(null)] {
            let refused = check(&rules, &with("sub", subject));
            assert_eq!(refused, Err(AuthError::Claim("sub".into())));
        }
    }

    #[test]
    fn a_claim_is_bound_as_the_token_writes_it() {
        let text = r#"{"exp": 1000060, "id": 12345678901234567890123, "n": 1.50, "big": 1e309, "t": true,
            "s": "a\u00e9", "o": {"x": [ 1e400 ]}, "z": null, "half": "\ud800"}"#;
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let claims = Rules::default().check(parsed(text), now).unwrap();
        for (name, expected) in [
            ("id", "12345678901234567890123"),
            ("n", "1.50"),
            ("big", "1e309"),
            ("t", "true"),
            ("s", "aé"),
            ("o", r#"{"x": [ 1e400 ]}"#),
        ] {
            assert_eq!(claims.text(name).as_deref(), Some(expected));
        }
        for absent in ["z", "half", "nothing"] {
            assert_eq!(claims.text(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_time_beyond_a_double_is_no_time() {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let refused = Rules::default().check(parsed(r#"{"exp": 1e309}"#), now);
        assert_eq!(refused, Err(AuthError::Claim("exp".into())));
    }

    #[test]
    fn a_clock_before_the_epoch_accepts_nothing() {
        let claims = parsed(&json!({ "exp": NOW }).to_string());
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(
            Rules::default().check(claims, before),
            Err(AuthError::Expired)
        );
    }
}
