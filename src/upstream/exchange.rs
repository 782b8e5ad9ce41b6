//! One request and its answer.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, Version};
use tokio::time::Instant;

use super::download::{Download, FromNode, Place};
use super::link::AnswerBody;
use super::outgoing::{Outgoing, Patience};
use super::race::UpstreamRace;
use super::upload::{OpenUpload, Upload, UploadState};
use super::{Upstream, UpstreamError, UpstreamNode};
use crate::http::LoggedId;
use tidegate_steering::Turn;

/// An answer's head, before its body is read.
#[derive(Debug)]
pub struct Answered {
    /// The node's answer.
    pub response: Response<AnswerBody>,
    /// Why this node answered.
    pub turn: Turn,
    pub(super) upstream: Arc<Upstream>,
    pub(super) node: usize,
    pub(super) place: Place,
    request_id: Option<LoggedId>,
    /// What is still to be sent of the request.
    upload: Option<OpenUpload>,
    /// When the last byte of the request had arrived, as far as it has.
    pub(super) read_at: Option<Instant>,
}

impl Answered {
    /// The node that answered.
    #[must_use]
    pub fn node(&self) -> &UpstreamNode {
        &self.upstream.nodes()[self.node]
    }

    /// The answer with its body, which is passed on as it arrives.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let (mut head, body) = self.response.into_parts();
        // The fields are about the node's connection, not the client's.
        head.version = Version::default();
        let source = FromNode {
            upstream: self.upstream,
            node: self.node,
            request_id: self.request_id,
            _place: self.place,
            _upload: self.upload,
        };
        Response::from_parts(head, Body::new(Download::new(body, source)))
    }
}

/// Sends a request, with its body unless it has none, and waits for the head of an answer.
/// Dropping the future leaves no state here; a request that was sent is not recalled.
///
/// # Errors
/// States what happened to the request, as far as that is known.
pub(super) async fn exchange(
    upstream: &Arc<Upstream>,
    outgoing: &Outgoing,
    body: Option<Body>,
    patience: Patience,
) -> Result<Answered, UpstreamError> {
    let place = upstream.place()?;
    let until = Instant::now() + patience.body_timeout;
    let open = body.map(|body| {
        let upload = Upload::new(body, patience.body_bytes_max, until);
        OpenUpload::new(upload)
    });
    let upload = open.as_ref().map(OpenUpload::upload);
    let race = UpstreamRace::new(upstream, outgoing, upload, patience);
    let found = race.run().await?;
    let read_at = upload.and_then(|upload| match upload.state() {
        UploadState::Taken(at) => Some(at),
        _ => None,
    });
    Ok(Answered {
        response: found.response,
        turn: found.turn,
        upstream: Arc::clone(upstream),
        node: found.node,
        place: (place, found.visit),
        request_id: LoggedId::of(&outgoing.headers),
        upload: open,
        read_at,
    })
}
