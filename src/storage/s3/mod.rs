//! The front door: the S3 protocol by `s3s`, and what it leaves open.
//!
//! `guard` refuses what must not be accepted before `s3s` reads a request, `access` is authorisation,
//! `parameters` refuses what an operation does not do, `digests` are compared with bodies, and `operations` is
//! the protocol's meaning.

mod errors;
mod xml;
mod keys;
mod host;
mod guard;
mod ranges;
mod rotation;
mod chunks;
mod hashers;
mod digests;
mod fields;
mod filename;
mod forms;
mod preconditions;
mod payloads;
mod parameters;
mod meaning;
mod passed_over;
mod body;
mod access;
mod conditions;
mod request;
mod meta;
mod redirect;
mod objects;
mod attributes;
mod deletions;
mod encoding;
mod lists;
mod uploads;
mod completion;
mod copies;
mod buckets;
mod operations;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use s3s::Body;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};

use super::Store;
use super::registry::new_id;
use crate::http::{ClientBody, RequestNotes};
use access::{Keys, Permissions};
use body::Watched;
use chunks::Chunks;
use forms::Form;
use host::Hosts;
use meaning::Meaning;
use operations::Operations;
use payloads::WithoutLength;
use redirect::Redirect;
use rotation::{NoOperations, secret_of};

/// The service behind the S3 listener.
#[derive(Clone)]
pub struct S3Front {
    store: Arc<Store>,
    service: S3Service,
    /// Only verifies signatures.
    probe: S3Service,
    notes: RequestNotes,
}

impl S3Front {
    /// Puts it together; requests are noted in `notes`.
    #[must_use]
    pub fn new(store: &Arc<Store>, notes: RequestNotes) -> Self {
        let mut builder = S3ServiceBuilder::new(Operations(Arc::clone(store)));
        // Without it, access would not be checked at all.
        builder.set_access(Permissions(Arc::clone(store)));
        Self {
            store: Arc::clone(store),
            service: built(builder, store),
            probe: built(S3ServiceBuilder::new(NoOperations), store),
            notes,
        }
    }

    /// Serves a request whose head is acceptable.
    async fn serve(&self, request: Request<Body>, id: &str) -> Response<Body> {
        let request = Chunks::body(request);
        let is_form = guard::is_form(&request);
        let request = match (is_form, guard::may_be_document(&request)) {
            (true, _) => Form::body(request),
            (false, true) => Watched::body(request),
            (false, false) => request,
        };
        let watched = request.extensions().get::<Watched>().cloned();
        let inventory = self.store.inventory.load_full();
        let found = secret_of(request, &inventory, &self.probe).await;
        let (at_hand, request) = match found {
            Ok(found) => found,
            Err(error) => return errors::response(error),
        };
        let method = request.method().clone();
        let answered = at_hand.serve(self.service.call(request)).await;
        let mut answer = answered.unwrap_or_else(|error| {
            tracing::error!(?error, %method, id, "an S3 request could not be answered");
            errors::unavailable()
        });
        if is_form {
            forms::mend(&mut answer);
        }
        // `s3s` takes a body that it could not read for a failure of its own.
        let is_failure = answer.status() == StatusCode::INTERNAL_SERVER_ERROR;
        let watched = watched.filter(|_| is_failure);
        let fault = watched.and_then(|watched| watched.fault());
        if is_failure && fault.is_none() {
            // Its lines are off: they say so of what clients send, too.
            tracing::warn!(%method, id, "s3s has failed to answer a request");
        }
        fault.map_or(answer, errors::response)
    }
}

/// Puts a service together that verifies signatures.
fn built(mut builder: S3ServiceBuilder, store: &Arc<Store>) -> S3Service {
    builder.set_auth(Keys(Arc::clone(store)));
    let mut config = S3Config::default();
    config.post_object_max_file_size = guard::FORM_BYTES_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    if let Some(hosts) = Hosts::of(&store.settings) {
        builder.set_host(hosts);
    }
    builder.build()
}

impl tower::Service<Request<ClientBody>> for S3Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<ClientBody>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move {
            let (id, meaning) = (new_id(), Meaning::default());
            let noted = front.notes.begin(&request, &id);
            let query = request.uri().query().unwrap_or_default();
            let asks_for_attributes = query
                .split('&')
                .any(|it| it.trim_end_matches('=') == "attributes");
            ranges::adapt(&mut request);
            let mut response = match guard::check(&request) {
                Err(error) => errors::response(error),
                Ok(()) => {
                    let mut request = request.map(Body::http_body);
                    request.extensions_mut().insert(meaning.clone());
                    WithoutLength::mark(&mut request);
                    noted.around(front.serve(request, &id)).await
                }
            };
            if response.extensions().get::<Redirect>().is_some() {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            }
            if asks_for_attributes {
                unquote(&mut response);
            }
            xml::mend(&mut response);
            errors::ask_to_retry(&mut response);
            errors::identify(&mut response, &id);
            let status = response.status().as_u16();
            noted.answered(status, meaning.understood(&id));
            Ok(response)
        })
    }
}

/// `GetObjectAttributes` is the one answer of S3 whose `ETag` has no quotes.
fn unquote(response: &mut Response<Body>) {
    let body = response.body().bytes();
    let text = body.and_then(|body| String::from_utf8(body.to_vec()).ok());
    if let Some(text) = text.filter(|_| response.status().is_success()) {
        let text = text.replace("&quot;", "").replace("<ETag>\"", "<ETag>");
        let text = text.replace("\"</ETag>", "</ETag>");
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(text);
    }
}
