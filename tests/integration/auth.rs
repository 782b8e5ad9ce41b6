//! Authentication: bearer tokens through the real binary.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{Response, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tidegate::auth::mint;
use tidegate::testkit::{GatewayCommand, GatewayProcess};
use tokio::net::TcpListener;

use crate::world::{
    BINARY, JWT_SECRET, World, client, gateway_of, header, jwt, migrated_cluster, problem,
    wait_ready,
};

const PROFILE: &str = "/account/profile";
const HOUR: Duration = Duration::from_secs(3_600);

/// Asserts that an answer is a 401, and returns its challenge.
async fn refused(response: Response) -> String {
    let challenge = header(&response, "www-authenticate").to_owned();
    problem(response, 401, "unauthorized").await;
    challenge
}

fn minted(subject: &str, age: Duration, audience: Option<&str>) -> String {
    let now = SystemTime::now() - age;
    mint(JWT_SECRET.as_bytes(), subject, HOUR, audience, None, now)
}

#[tokio::test]
async fn a_bearer_who_is_not_recognised_gets_401_and_a_challenge() {
    let world = World::start().await;
    let send = async |authorization: &str| {
        world
            .get_with(PROFILE, "Authorization", authorization)
            .await
    };
    assert_eq!(
        refused(world.get(PROFILE).await).await,
        "Bearer realm=\"tidegate\""
    );
    assert_eq!(
        refused(send("Basic YTpi").await).await,
        "Bearer realm=\"tidegate\""
    );
    let token = jwt("alice").await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    // Only the first character: others may leave bits behind that make it malformed.
    let forged = match signature.strip_prefix('A') {
        Some(rest) => format!("B{rest}"),
        None => format!("A{}", &signature[1..]),
    };
    let unsigned = format!(
        "{}.{}.",
        encode(&json!({ "alg": "none" })),
        &signed[signed.find('.').unwrap() + 1..]
    );
    let expired = minted("alice", 2 * HOUR, None);
    let foreign = mint(
        b"another-secret-of-32-bytes-or-so",
        "alice",
        HOUR,
        None,
        None,
        SystemTime::now(),
    );
    for (token, reason) in [
        ("x", "malformed"),
        (signed, "malformed"),
        (&format!("{signed}.{forged}"), "signature"),
        (&unsigned, "a"),
        (&expired, "expired"),
        (&foreign, "signature"),
    ] {
        let challenge = refused(send(&format!("Bearer {token}")).await).await;
        let expected = "Bearer realm=\"tidegate\", error=\"invalid_token\", error_description=\"";
        assert!(challenge.starts_with(expected), "{challenge}");
        assert!(challenge.contains(reason), "{challenge}");
    }
    assert_eq!(
        send(&format!("bearer {token}")).await.status(),
        StatusCode::OK
    );
    // Authentication comes before the body is looked at.
    let post = world
        .client
        .post(world.gateway.url("/api/v1/transfers"))
        .body("x");
    refused(post.send().await.unwrap()).await;
    assert!(
        !world.gateway.log().contains(signature),
        "tokens stay out of the log"
    );
}

#[tokio::test]
async fn what_may_be_presented_depends_on_the_configuration() {
    let cluster = migrated_cluster(0).await;
    let client = client();
    let command = || {
        GatewayCommand::new(BINARY, "serve")
            .env("REGION", "eu-west-1")
            .env("DATABASE_URL", cluster.primary.url())
    };
    let profile = async |gateway: &GatewayProcess, token: &str| {
        let request = client.get(gateway.url(PROFILE)).bearer_auth(token);
        request.send().await.unwrap()
    };
    let token = jwt("alice").await;

    let unconfigured = command().start().await.unwrap();
    wait_ready(&client, &unconfigured).await;
    refused(profile(&unconfigured, &token).await).await;

    let strict = gateway_of(&cluster).env("AUTH_JWT_AUDIENCE", "tidegate");
    let strict = strict.start().await.unwrap();
    wait_ready(&client, &strict).await;
    for audience in [None, Some("elsewhere")] {
        refused(profile(&strict, &minted("alice", Duration::ZERO, audience)).await).await;
    }
    let meant = minted("alice", Duration::ZERO, Some("tidegate"));
    assert_eq!(profile(&strict, &meant).await.status(), StatusCode::OK);

    let issuer = Issuer::start().await;
    let with_keys = command()
        .env("AUTH_JWKS_URL", &issuer.url)
        .start()
        .await
        .unwrap();
    wait_ready(&client, &with_keys).await;
    let answer = profile(&with_keys, &issuer.token("alice")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["name"], "alice");
    refused(profile(&with_keys, &token).await).await;
    let impostor = Issuer::start().await;
    refused(profile(&with_keys, &impostor.token("alice")).await).await;

    let silent = command().env("AUTH_JWKS_URL", "http://127.0.0.1:1/jwks");
    let silent = silent.start().await.unwrap();
    wait_ready(&client, &silent).await;
    let answer = profile(&silent, &issuer.token("alice")).await;
    assert_eq!(header(&answer, "retry-after"), "1");
    problem(answer, 503, "overloaded").await;
}

/// Signs tokens, and publishes the key to check them with on a real socket.
struct Issuer {
    key: EcdsaKeyPair,
    url: String,
}

impl Issuer {
    async fn start() -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "x": x, "y": y });
        let keys = json!({ "keys": [jwk] }).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let router = Router::new().route("/jwks", get(async move || keys));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { key, url }
    }

    fn token(&self, subject: &str) -> String {
        let expires = SystemTime::now() + HOUR;
        let expires = expires
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let header = encode(&json!({ "alg": "ES256", "kid": "one" }));
        let claims = encode(&json!({ "sub": subject, "exp": expires }));
        let signed = format!("{header}.{claims}");
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn encode(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}
