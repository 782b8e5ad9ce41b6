//! The page at `/` of the admin listener: what one gateway knows, live.
//!
//! `live_page` reads the state, `verdict` judges it, `frame` writes it as HTML, `viewers` sends that to all
//! viewers. The same HTML is in the page itself, which therefore also works without scripts; `page.js`
//! puts each frame in the place of the one before. There is no second way from a value to its text.
//! No other origin is asked for anything, and the page reads nothing that `/admin/*` does not answer.

mod markup;
mod rates;
mod seen;
mod verdict;
mod map;
mod rows;
mod frame;
mod viewers;
mod live_page;
mod page;

pub use live_page::LivePage;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

/// Routes the page, what it is made of, and its events.
pub fn routes(live: &Arc<LivePage>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/map.svg", get(page::land))
        .route("/admin/events", get(page::events))
        .with_state(Arc::clone(live))
}
