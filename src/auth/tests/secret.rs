//! Tokens under a shared secret.

use super::*;

#[tokio::test]
async fn a_minted_token_is_accepted() {
    let accepted = verify(&with_secret(), &minted(SystemTime::now()))
        .await
        .unwrap();
    assert_eq!(accepted.subject().as_deref(), Some("alice"));
    assert!(
        accepted
            .text("exp")
            .is_some_and(|exp| exp.parse::<u64>().is_ok())
    );
}

#[tokio::test]
async fn a_minted_token_names_its_audience_and_issuer() {
    let config = AuthConfig {
        keys: KeySource::Hs256(SecretString::from("0123456789abcdef")),
        audience: Some("tidegate".to_owned()),
        issuer: Some("me".to_owned()),
    };
    let verifier = Verifier::new(&config).unwrap();
    let secret = config.keys.hs256_secret().unwrap();
    let now = SystemTime::now();
    let token = mint(secret, "alice", HOUR, Some("tidegate"), Some("me"), now);
    assert!(verify(&verifier, &token).await.is_ok());
    let token = mint(secret, "alice", HOUR, Some("other"), Some("me"), now);
    assert_eq!(verify(&verifier, &token).await, Err(AuthError::Audience));
    let token = mint(secret, "alice", HOUR, Some("tidegate"), Some("you"), now);
    assert_eq!(verify(&verifier, &token).await, Err(AuthError::Issuer));
}

#[tokio::test]
async fn an_old_token_has_expired() {
    let token = minted(SystemTime::now() - 2 * HOUR);
    assert_eq!(
        verify(&with_secret(), &token).await,
        Err(AuthError::Expired)
    );
}

#[tokio::test]
async fn without_keys_every_token_is_refused() {
    let verifier = verifier(KeySource::None);
    let refused = verify(&verifier, &minted(SystemTime::now())).await;
    assert_eq!(refused, Err(AuthError::NotConfigured));
    assert_eq!(verifier.verify(None).await, Err(AuthError::NotConfigured));
}

#[tokio::test]
async fn only_a_bearer_is_looked_at() {
    let verifier = with_secret();
    assert_eq!(verifier.verify(None).await, Err(AuthError::Missing));
    for (field, expected) in [
        ("Basic YWxpY2U6c2VjcmV0", AuthError::Missing),
        ("Bearer", AuthError::Missing),
        ("Bearer x", AuthError::Malformed),
    ] {
        let field = HeaderValue::from_static(field);
        assert_eq!(
            verifier.verify(Some(&field)).await,
            Err(expected),
            "{field:?}"
        );
    }
    let lower = format!("bearer {}", minted(SystemTime::now()));
    let field = HeaderValue::from_str(&lower).unwrap();
    assert!(verifier.verify(Some(&field)).await.is_ok());
}

#[tokio::test]
async fn a_token_changed_anywhere_is_refused() {
    let (verifier, token) = (with_secret(), minted(SystemTime::now()));
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verify(&verifier, &changed).await.is_err(), "{changed}");
    }
}

#[tokio::test]
async fn a_token_signed_with_another_secret_is_refused() {
    let token = mint(
        b"fedcba9876543210",
        "alice",
        HOUR,
        None,
        None,
        SystemTime::now(),
    );
    assert_eq!(
        verify(&with_secret(), &token).await,
        Err(AuthError::Signature)
    );
}

#[tokio::test]
async fn an_unsigned_token_is_refused_however_none_is_spelt() {
    for none in ["none", "None", "NONE", ""] {
        let token = assemble(&json!({ "alg": none }), &claims(), |_| Vec::new());
        assert_eq!(
            verify(&with_secret(), &token).await,
            Err(AuthError::Algorithm)
        );
    }
    let token = assemble(&json!({ "alg": "HS256" }), &claims(), |_| Vec::new());
    assert_eq!(
        verify(&with_secret(), &token).await,
        Err(AuthError::Signature)
    );
}

#[tokio::test]
async fn other_algorithms_are_refused_even_with_a_good_signature() {
    for algorithm in ["HS384", "RS256", "ES256", "EdDSA"] {
        let sign = |message: &[u8]| hmac_sha256(SECRET, message);
        let token = assemble(&json!({ "alg": algorithm }), &claims(), sign);
        assert_eq!(
            verify(&with_secret(), &token).await,
            Err(AuthError::Algorithm)
        );
    }
}

#[tokio::test]
async fn extensions_that_must_be_understood_are_not() {
    let header = json!({ "alg": "HS256", "crit": ["exp"] });
    let token = assemble(&header, &claims(), |message| hmac_sha256(SECRET, message));
    assert_eq!(
        verify(&with_secret(), &token).await,
        Err(AuthError::Critical)
    );
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let good = minted(SystemTime::now());
    for bad in [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b",
        &format!("{good}.x"),
        &format!("{good}="),
        &good.replace('.', ". "),
    ] {
        let refused = with_secret().verify(Some(&bearer(bad))).await.unwrap_err();
        assert!(
            matches!(refused, AuthError::Malformed | AuthError::Missing),
            "{bad}"
        );
    }
    let long = verify(&with_secret(), &"x".repeat(9000)).await;
    assert_eq!(long, Err(AuthError::TooLong));
    let sign = |message: &[u8]| hmac_sha256(SECRET, message);
    let array = assemble(&json!({ "alg": "HS256" }), &json!([1]), sign);
    assert_eq!(
        verify(&with_secret(), &array).await,
        Err(AuthError::Malformed)
    );
}
