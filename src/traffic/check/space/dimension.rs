//! The dimensions of the space of requests.

/// A dimension of the space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dimension {
    Method,
    Path,
    Country,
    Client,
    Host,
    /// Whether a header, cookie or query parameter is present, with a value if one is given.
    Field(FieldKind, Box<str>, Option<Box<str>>),
}

/// What a field of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FieldKind {
    Header,
    Cookie,
    Query,
}
