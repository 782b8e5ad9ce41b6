//! The front door: the S3 protocol by `s3s`, and what it leaves open.
//!
//! `guard` refuses what must not be accepted before `s3s` reads a request, `access` is authorisation,
//! `parameters` refuses what an operation does not do, `body` compares digests, and `operations` is the
//! protocol's meaning.

mod errors;
mod guard;
mod ranges;
mod rotation;
mod parameters;
mod meaning;
mod access;
mod body;
mod conditions;
mod request;
mod meta;
mod objects;
mod attributes;
mod deletions;
mod encoding;
mod lists;
mod uploads;
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
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};

use super::Store;
use super::registry::new_id;
use crate::http::{ClientBody, RequestNotes};
use access::{Keys, Permissions};
use body::Watched;
use meaning::Meaning;
use objects::Redirect;
use operations::Operations;
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
    ///
    /// # Errors
    /// If the domain of virtual hosts is not one.
    pub fn new(store: &Arc<Store>, notes: RequestNotes) -> Result<Self, String> {
        let mut builder = S3ServiceBuilder::new(Operations(Arc::clone(store)));
        // Without it, access would not be checked at all.
        builder.set_access(Permissions(Arc::clone(store)));
        Ok(Self {
            store: Arc::clone(store),
            service: built(builder, store)?,
            probe: built(S3ServiceBuilder::new(NoOperations), store)?,
            notes,
        })
    }

    /// Serves a request whose head is acceptable.
    async fn serve(&self, request: Request<Body>, id: &str) -> Response<Body> {
        let watched = match guard::deletes_several(&request) {
            true => Watched::body(request),
            false => Ok(request),
        };
        let request = match watched {
            Ok(request) => request,
            Err(error) => return errors::response(error),
        };
        let inventory = self.store.inventory.load_full();
        let found = secret_of(request, &inventory, &self.probe).await;
        let (at_hand, request) = match found {
            Ok(found) => found,
            Err(error) => return errors::response(error),
        };
        let method = request.method().clone();
        let answered = at_hand.serve(self.service.call(request)).await;
        answered.unwrap_or_else(|error| {
            tracing::error!(?error, %method, id, "an S3 request could not be answered");
            errors::unavailable()
        })
    }
}

/// Puts a service together that verifies signatures.
fn built(mut builder: S3ServiceBuilder, store: &Arc<Store>) -> Result<S3Service, String> {
    builder.set_auth(Keys(Arc::clone(store)));
    let mut config = S3Config::default();
    config.post_object_max_file_size = guard::FORM_BYTES_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    let domain = &store.settings.domain;
    if !domain.is_empty() {
        let host = SingleDomain::new(domain);
        builder.set_host(host.map_err(|error| error.to_string())?);
    }
    Ok(builder.build())
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
                    noted.around(front.serve(request, &id)).await
                }
            };
            if response.extensions().get::<Redirect>().is_some() {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            }
            if asks_for_attributes {
                unquote(&mut response);
            }
            errors::ask_to_retry(&mut response);
            errors::identify(&mut response, &id);
            let status = response.status().as_u16();
            noted.answered(meaning.route(), status, meaning.attributes(&id));
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
