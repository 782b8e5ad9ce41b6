//! The document, the files that it needs, and its events.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
};
use http::{HeaderMap, HeaderValue};

use super::LivePage;
use super::markup::Text;
use crate::gateway::admin::described;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
const LAND: &str = include_str!("assets/map.svg");
const SEARCH: &str = include_str!("assets/search.html");
const DIALOG: &str = include_str!("assets/dialog.html");

/// Nothing but this listener's own files; no page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The page, complete without scripts; `/?wall` leaves out what cannot be used on a wall.
pub(super) async fn page(State(live): State<Arc<LivePage>>, RawQuery(query): RawQuery) -> Response {
    let is_wall =
        query.is_some_and(|query| query.split('&').any(|it| it == "wall" || it == "wall="));
    file("text/html; charset=utf-8", document(&live, is_wall))
}

pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn land() -> Response {
    file("image/svg+xml", LAND)
}

/// Answers with a frame four times a second, until the viewer leaves.
pub(super) async fn events(State(live): State<Arc<LivePage>>, headers: HeaderMap) -> Response {
    let frames = match live.viewers.enter() {
        Ok(frames) => frames,
        Err(full) => {
            let mut response = described(full, &headers);
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            return response;
        }
    };
    live.wake();
    let fields = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    (fields, Body::from_stream(frames)).into_response()
}

fn file(kind: &'static str, body: impl IntoResponse) -> Response {
    let fields: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (fields, body).into_response()
}

fn document(live: &LivePage, is_wall: bool) -> String {
    let region = Text(live.region());
    let mut html = String::with_capacity(16 * 1024);
    let (class, token) = (
        if is_wall { "wall" } else { "desk" },
        if live.needs_token { "needed" } else { "none" },
    );
    // Writing to a string cannot fail.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{region} · Tidegate</title>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/page.css\">\
         <script src=\"/page.js\" defer></script>\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript></head>\n\
         <body class=\"{class}\" data-token=\"{token}\"><header><h1>{region}</h1>\
         <p class=\"brand\">Tidegate</p><p id=\"link\" hidden></p>\
         <p id=\"news\" role=\"status\"></p></header>\n{}<main>{}</main>\n",
        if is_wall { "" } else { SEARCH },
        live.whole()
    );
    if !is_wall {
        html.push_str(DIALOG);
    }
    html.push_str("</body></html>\n");
    html
}
