//! Why a receipt cannot be used.

/// Why a receipt cannot be read or decided again.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The line is not a receipt.
    #[error("the line is not a receipt: {0}")]
    Json(#[from] serde_json::Error),
    /// A field of the request has a value that no request could have had.
    #[error("the receipt's request has an invalid {0}")]
    Request(&'static str),
    /// Another field has a value that no gateway writes.
    #[error("the receipt has an invalid {0}")]
    Field(&'static str),
}
