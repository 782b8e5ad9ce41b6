//! An issuer of tokens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use tokio::net::TcpListener;

use super::*;
use crate::auth::jwks::Pace;

/// An issuer's key set on a real socket.
pub(super) struct Issuer {
    listener: Option<TcpListener>,
    pub(super) url: reqwest::Url,
    pub(super) document: Arc<Mutex<Value>>,
    status: Arc<Mutex<StatusCode>>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    /// Reserves an address; nothing answers there until [`Self::serve`].
    pub(super) async fn new(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        Self {
            listener: Some(listener),
            url: url.parse().unwrap(),
            document: Arc::new(Mutex::new(json!({ "keys": keys }))),
            status: Arc::new(Mutex::new(StatusCode::OK)),
            fetches: Arc::new(AtomicUsize::new(0)),
        }
    }

    pub(super) async fn serving(keys: &[Value]) -> Self {
        let mut issuer = Self::new(keys).await;
        issuer.serve();
        issuer
    }

    pub(super) fn serve(&mut self) {
        let (document, status) = (Arc::clone(&self.document), Arc::clone(&self.status));
        let fetches = Arc::clone(&self.fetches);
        let answer = move |headers: HeaderMap| async move {
            fetches.fetch_add(1, Ordering::SeqCst);
            assert!(!headers.contains_key("authorization"));
            (
                *status.lock().unwrap(),
                document.lock().unwrap().to_string(),
            )
        };
        let moved = get(|| async { Redirect::temporary("/jwks").into_response() });
        let router = Router::new()
            .route("/jwks", get(answer))
            .route("/moved", moved);
        let listener = self.listener.take().unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        *self.document.lock().unwrap() = json!({ "keys": keys });
    }

    pub(super) fn answer_with(&self, status: StatusCode) {
        *self.status.lock().unwrap() = status;
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub(super) fn verifier(&self, pace: Pace) -> Verifier {
        let keys = KeySource::Jwks(self.url.clone());
        let config = AuthConfig {
            keys,
            audience: None,
            issuer: None,
        };
        Verifier::with_pace(&config, pace).unwrap()
    }
}
