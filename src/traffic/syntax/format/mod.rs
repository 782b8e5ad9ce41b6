//! The normal form of a file: one clause a line, one blank line between blocks, regions in columns,
//! comments where they were.
//!
//! Only white space and the order of a region's attributes change, never a word.

mod lines;
mod regions;
mod write;

pub use write::format;
