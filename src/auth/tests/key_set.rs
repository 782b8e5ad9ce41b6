//! Tokens under a key set that is fetched from a real HTTP server.

use axum::http::StatusCode;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::issuer::Issuer;
use super::*;
use crate::auth::jwks::Pace;

// An RSA key whose private key was discarded, and a token that it signed for alice until 2100.
const RSA_MODULUS: &str = "kTNV8bY2SDffq9NGsTdZMTNBVJ7QnAn3NUwGtWy0ycke7cpYT-2lIgrfXh3psVZpIzCm\
dnElBN0dmkvJVUVqeAFPKIxsw545kHBggvK5O7troAKKC0hUXmSGB4IxBbjCn9Oy3uC8PvivsuZ_eDbajxDqtSbQfJ45nRC\
iJU64XdowvXxNLRnxTgLnnbrMAeWSZhVokNtatHDMyBpaYzNz4NZjCcaOZdboztZEdiEwwU_PlhECxEnlpuOCEXP41Ezqh_\
yoY4UNyJHgDo2shuyd5nW2Kx51rtPlXb_51AkSRnu8oJrn3wlsvbrYyWq_C-f5XNHJBCA27iwwM_luK6h0vQ";
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZS\
IsImV4cCI6NDEwMjQ0NDgwMH0.eHblctSI30u2RjB1j9wyX3lfkucsWq2XuifUV13rjixF-nzS61gsLM0x9vegGo3NEsQi7O\
ESqi_kE06OsNVaO5EzO3VfRz8u7vPl5_LqBqtnZLUFF42DxW7vFR7Dj8UVo0BWua3Bts7fJRWZWpl-kpppAylzgRkhWNHCwW\
c6u81GlY8kL8NiItVvbAKlmj76IM2eggWAvwI9tltOjvaXNbv9YkBcbxWzk2BbSS5VkeEK6llPkJO2rXKchAZmu0NWiJs77l\
Vyiv6zo9ZBmnh4DILdwNQtnGbt4RiiGpKQq4jQOlR9-m9UvhQV3P1c8ieWDVhagL2vIkMLSUIVwIQSqA";

/// Intervals so short that tests need not wait.
fn eager() -> Pace {
    Pace {
        unknown_interval: Duration::ZERO,
        retry_after: Duration::ZERO,
        ..Pace::default()
    }
}

struct P256(EcdsaKeyPair, &'static str);

impl P256 {
    fn new(kid: &'static str) -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(
            EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap(),
            kid,
        )
    }

    fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "kid": self.1, "use": "sig", "x": x, "y": y })
    }

    fn token(&self) -> String {
        assemble(
            &json!({ "alg": "ES256", "kid": self.1 }),
            &claims(),
            |message| {
                self.0
                    .sign(&SystemRandom::new(), message)
                    .unwrap()
                    .as_ref()
                    .to_vec()
            },
        )
    }
}

fn rsa_jwk() -> Value {
    json!({ "kty": "RSA", "kid": "rsa", "alg": "RS256", "n": RSA_MODULUS, "e": "AQAB" })
}

#[tokio::test]
async fn es256_rs256_and_eddsa_are_verified_with_their_keys() {
    let (p256, random) = (P256::new("p256"), SystemRandom::new());
    let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ed25519 = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let x = encode(ed25519.public_key());
    let ed25519_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x });
    let issuer = Issuer::serving(&[p256.jwk(), rsa_jwk(), ed25519_jwk]).await;
    let verifier = issuer.verifier(Pace::default());

    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let eddsa = assemble(&header, &claims(), |message| {
        ed25519.sign(message).as_ref().to_vec()
    });
    for token in [&p256.token(), RSA_TOKEN, &eddsa] {
        let accepted = verify(&verifier, token).await.unwrap();
        assert_eq!(accepted.subject().as_deref(), Some("alice"));
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let issuer = Issuer::serving(&[rsa_jwk()]).await;
    let verifier = issuer.verifier(Pace::default());
    let secret = BASE64_URL_SAFE_NO_PAD.decode(RSA_MODULUS).unwrap();
    for secret in [secret.as_slice(), RSA_MODULUS.as_bytes()] {
        let sign = |message: &[u8]| hmac_sha256(secret, message);
        let token = assemble(&json!({ "alg": "HS256", "kid": "rsa" }), &claims(), sign);
        assert_eq!(verify(&verifier, &token).await, Err(AuthError::Algorithm));
    }
}

#[tokio::test]
async fn a_token_cannot_choose_another_algorithm_for_a_key() {
    let (p256, random) = (P256::new("rsa"), SystemRandom::new());
    let issuer = Issuer::serving(&[rsa_jwk()]).await;
    let verifier = issuer.verifier(eager());
    assert_eq!(
        verify(&verifier, &p256.token()).await,
        Err(AuthError::Algorithm)
    );
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let sign = |message: &[u8]| p256.0.sign(&random, message).unwrap().as_ref().to_vec();
    let token = assemble(&header, &claims(), sign);
    assert_eq!(verify(&verifier, &token).await, Err(AuthError::Signature));
}

#[tokio::test]
async fn a_new_key_is_found_at_once_after_a_rotation() {
    let (old, new) = (P256::new("old"), P256::new("new"));
    let issuer = Issuer::serving(&[old.jwk()]).await;
    let verifier = issuer.verifier(Pace {
        retry_after: Duration::ZERO,
        ..Pace::default()
    });
    assert!(verify(&verifier, &old.token()).await.is_ok());
    issuer.publish(&[new.jwk()]);
    assert!(verify(&verifier, &new.token()).await.is_ok());
    assert_eq!(
        verify(&verifier, &old.token()).await,
        Err(AuthError::UnknownKey)
    );
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_the_issuer_one_fetch() {
    let known = P256::new("known");
    let issuer = Issuer::serving(&[known.jwk()]).await;
    let verifier = issuer.verifier(Pace {
        retry_after: Duration::ZERO,
        ..Pace::default()
    });
    verifier.warm().await;
    let unknown = P256::new("unknown").token();
    let flood = (0..100).map(|_| verify(&verifier, &unknown));
    for outcome in futures_util::future::join_all(flood).await {
        assert_eq!(outcome, Err(AuthError::UnknownKey));
    }
    assert_eq!(
        verify(&verifier, &unknown).await,
        Err(AuthError::UnknownKey)
    );
    assert_eq!(issuer.fetches(), 2, "one to warm up, one for the flood");
    assert!(verify(&verifier, &known.token()).await.is_ok());
}

#[tokio::test]
async fn first_requests_share_one_fetch() {
    let key = P256::new("key");
    let issuer = Issuer::serving(&[key.jwk()]).await;
    let verifier = issuer.verifier(Pace::default());
    let token = key.token();
    let requests = (0..50).map(|_| verify(&verifier, &token));
    for outcome in futures_util::future::join_all(requests).await {
        assert!(outcome.is_ok());
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_take_the_fetch_along() {
    use futures_util::FutureExt;

    let key = P256::new("key");
    let mut issuer = Issuer::new(&[key.jwk()]).await;
    let verifier = issuer.verifier(Pace::default());
    assert!(verify(&verifier, &key.token()).now_or_never().is_none());
    issuer.serve();
    assert!(verify(&verifier, &key.token()).await.is_ok());
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn a_key_set_that_is_down_at_first_is_tried_again() {
    let key = P256::new("key");
    let issuer = Issuer::serving(&[key.jwk()]).await;
    issuer.answer_with(StatusCode::SERVICE_UNAVAILABLE);
    let verifier = issuer.verifier(eager());
    verifier.warm().await;
    let early = verify(&verifier, &key.token()).await;
    assert_eq!(early, Err(AuthError::KeysUnavailable));
    issuer.answer_with(StatusCode::OK);
    assert!(verify(&verifier, &key.token()).await.is_ok());
}

#[tokio::test]
async fn while_it_is_down_it_is_not_tried_for_every_request() {
    let key = P256::new("key");
    let issuer = Issuer::serving(&[]).await;
    let verifier = issuer.verifier(Pace {
        retry_after: HOUR,
        ..Pace::default()
    });
    for _ in 0..10 {
        let refused = verify(&verifier, &key.token()).await;
        assert_eq!(refused, Err(AuthError::KeysUnavailable));
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn old_keys_serve_on_when_a_refresh_fails() {
    let key = P256::new("key");
    let issuer = Issuer::serving(&[key.jwk()]).await;
    let always_stale = Pace {
        refresh_after: Duration::ZERO,
        stale_after: Duration::ZERO,
        ..eager()
    };
    let verifier = issuer.verifier(always_stale);
    assert!(verify(&verifier, &key.token()).await.is_ok());
    let bad: [(StatusCode, &[Value]); 2] = [
        (StatusCode::BAD_GATEWAY, &[key.jwk()]),
        (StatusCode::OK, &[]),
    ];
    for (status, keys) in bad {
        let before = issuer.fetches();
        issuer.answer_with(status);
        issuer.publish(keys);
        assert!(verify(&verifier, &key.token()).await.is_ok(), "{status}");
        assert!(issuer.fetches() > before, "{status}");
    }
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_once_the_set_is_stale() {
    let (old, new) = (P256::new("old"), P256::new("new"));
    let issuer = Issuer::serving(&[old.jwk()]).await;
    let always_stale = Pace {
        refresh_after: Duration::ZERO,
        stale_after: Duration::ZERO,
        ..eager()
    };
    let verifier = issuer.verifier(always_stale);
    assert!(verify(&verifier, &old.token()).await.is_ok());
    issuer.publish(&[new.jwk()]);
    assert_eq!(
        verify(&verifier, &old.token()).await,
        Err(AuthError::UnknownKey)
    );
}

#[tokio::test]
async fn an_ageing_set_is_refreshed_behind_the_request() {
    let (old, new) = (P256::new("old"), P256::new("new"));
    let issuer = Issuer::serving(&[old.jwk()]).await;
    let verifier = issuer.verifier(Pace {
        refresh_after: Duration::ZERO,
        ..eager()
    });
    assert!(verify(&verifier, &old.token()).await.is_ok());
    issuer.publish(&[new.jwk()]);
    let withdrawn = async {
        while verify(&verifier, &old.token()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), withdrawn)
        .await
        .expect("a refresh");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let key = P256::new("key");
    let mut issuer = Issuer::serving(&[key.jwk()]).await;
    issuer.url.set_path("/moved");
    let refused = verify(&issuer.verifier(eager()), &key.token()).await;
    assert_eq!(refused, Err(AuthError::KeysUnavailable));
    assert_eq!(issuer.fetches(), 0);
}

#[tokio::test]
async fn an_endless_document_is_given_up() {
    let key = P256::new("key");
    let issuer = Issuer::serving(&[key.jwk()]).await;
    *issuer.document.lock().unwrap() =
        json!({ "keys": [key.jwk()], "padding": "x".repeat(300 * 1024) });
    let refused = verify(&issuer.verifier(eager()), &key.token()).await;
    assert_eq!(refused, Err(AuthError::KeysUnavailable));
}
