//! The page of the admin listener: what it answers, and what it is in a browser.

pub(crate) mod browser;
mod events;
