//! A client of the storage API, with a token of some scope.

use std::time::{Duration, SystemTime};

use reqwest::{Client, Method};
use serde_json::Value;
use tidegate::auth::mint_with_scope;
use tidegate::testkit::{GatewayProcess, until};
use tokio::time::Instant;

use super::world::api_address;
use crate::world::{DEADLINE, JWT_SECRET, client};

/// A client of one gateway.
pub(crate) struct ApiClient {
    pub(crate) base: String,
    pub(crate) token: String,
    client: Client,
}

impl ApiClient {
    /// One that may do everything.
    pub(crate) async fn of(gateway: &GatewayProcess) -> Self {
        let api = Self {
            base: api_address(gateway).await,
            token: token(JWT_SECRET, Some("other storage:admin")),
            client: client(),
        };
        until("it knows the primary", DEADLINE, async || {
            let (status, _) = api.send(Method::GET, "/bucket", None).await;
            Ok((status == 200).then_some(()))
        })
        .await
        .unwrap();
        api
    }

    /// The same with another token.
    pub(crate) fn with(&self, token: String) -> Self {
        Self {
            base: self.base.clone(),
            token,
            client: self.client.clone(),
        }
    }

    /// Sends a request; returns status and body.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = match &*self.token {
            "" => request,
            token => request.bearer_auth(token),
        };
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_owned()),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// How long the bytes of an answer take, and how many rows it has.
    pub(crate) async fn timed(&self, path: &str) -> (Duration, usize) {
        let request = self.client.get(format!("{}{path}", self.base));
        let started = Instant::now();
        let response = request.bearer_auth(&self.token).send().await.unwrap();
        let body = response.bytes().await.unwrap();
        let took = started.elapsed();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (took, body["data"].as_array().unwrap().len())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Sends JSON that is accepted; returns `data`.
    pub(crate) async fn change(&self, method: Method, path: &str, body: &Value) -> Value {
        let (status, body) = self.send(method, path, Some(&body.to_string())).await;
        assert!(status == 200 || status == 201, "{body}");
        assert_eq!(body["success"], true);
        body["data"].clone()
    }
}

/// A token for an hour.
pub(crate) fn token(secret: &str, scope: Option<&str>) -> String {
    let hour = Duration::from_secs(3_600);
    let subject = ("operator", scope);
    mint_with_scope(
        secret.as_bytes(),
        subject,
        hour,
        None,
        None,
        SystemTime::now(),
    )
}
