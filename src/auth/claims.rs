//! What a verified token says, and whether it may be said here and now (RFC 7519, section 4.1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::AuthError;

/// How far an issuer's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// The claims of a token that was accepted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims(pub Map<String, Value>);

impl Claims {
    /// The value of a claim.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The claim `sub`, which is not empty.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.get("sub").and_then(Value::as_str)
    }

    /// A time claim, in seconds since the epoch; fractions are allowed.
    fn time(&self, name: &'static str) -> Result<Option<f64>, AuthError> {
        let seconds = |value: &Value| value.as_f64().ok_or(AuthError::Claim(name));
        self.get(name).map(seconds).transpose()
    }
}

/// What is asked of the claims of every token.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
}

impl Rules {
    /// Checks the claims and makes them available. `exp` is required; a token may be used 30 s
    /// after it and 30 s before `nbf`.
    pub(super) fn check(
        &self,
        claims: Map<String, Value>,
        now: SystemTime,
    ) -> Result<Claims, AuthError> {
        let claims = Claims(claims);
        check_times(&claims, now)?;
        self.check_audience(&claims)?;
        self.check_issuer(&claims)?;
        match claims.get("sub") {
            None => Ok(claims),
            Some(Value::String(subject)) if !subject.is_empty() => Ok(claims),
            Some(_) => Err(AuthError::Claim("sub")),
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), AuthError> {
        let Some(expected) = &self.audience else {
            return Ok(());
        };
        let is_named = match claims.get("aud") {
            Some(Value::String(audience)) => audience == expected,
            Some(Value::Array(audiences)) => audiences.iter().any(|it| it == expected),
            _ => return Err(AuthError::Claim("aud")),
        };
        if is_named {
            Ok(())
        } else {
            Err(AuthError::Audience)
        }
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), AuthError> {
        match (&self.issuer, claims.get("iss")) {
            (None, _) => Ok(()),
            (Some(expected), Some(Value::String(issuer))) if issuer == expected => Ok(()),
            (Some(_), Some(Value::String(_))) => Err(AuthError::Issuer),
            (Some(_), _) => Err(AuthError::Claim("iss")),
        }
    }
}

fn check_times(claims: &Claims, now: SystemTime) -> Result<(), AuthError> {
    // A clock before 1970 makes every token look valid for long, so it counts as the end of time.
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(f64::INFINITY, |it| it.as_secs_f64());
    let leeway = LEEWAY.as_secs_f64();
    let expires = claims.time("exp")?.ok_or(AuthError::Claim("exp"))?;
    if now >= expires + leeway {
        return Err(AuthError::Expired);
    }
    match claims.time("nbf")? {
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
        rules.check(claims.as_object().unwrap().clone(), now)
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
                Err(AuthError::Claim("exp")),
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
        assert_eq!(malformed, Err(AuthError::Claim("nbf")));
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
            Err(AuthError::Claim("aud"))
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
        assert_eq!(check(&rules, &array), Err(AuthError::Claim("iss")));
        assert_eq!(
            check(&rules, &with("x", json!(1))),
            Err(AuthError::Claim("iss"))
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
        assert_eq!(alice.subject(), Some("alice"));
        for subject in [json!(""), json!(7), json!(null)] {
            let refused = check(&rules, &with("sub", subject));
            assert_eq!(refused, Err(AuthError::Claim("sub")));
        }
    }

    #[test]
    fn a_clock_before_the_epoch_accepts_nothing() {
        let claims = json!({ "exp": NOW }).as_object().unwrap().clone();
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(
            Rules::default().check(claims, before),
            Err(AuthError::Expired)
        );
    }
}
