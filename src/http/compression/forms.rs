//! The compressed forms of a stored answer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::Coding;
use super::encoder::whole;

/// The compressed forms of one stored body, each made when it is first wanted.
#[derive(Debug, Default)]
pub struct CompressedForms {
    forms: [OnceLock<Option<Bytes>>; Coding::ALL.len()],
    bytes: AtomicUsize,
}

impl CompressedForms {
    /// Returns the bytes that all forms of a body may take together: text takes less.
    #[must_use]
    pub fn room(length: usize) -> usize {
        length
    }

    /// Returns a body in a form; none if there is no room for it.
    pub(super) fn get(&self, coding: Coding, body: &[u8]) -> Option<Bytes> {
        let form = &self.forms[coding as usize];
        let made = form.get_or_init(|| {
            let made = whole(coding, body).ok()?;
            // In memory of its own size.
            let made = Bytes::copy_from_slice(&made);
            let room = Self::room(body.len());
            let before = self.bytes.fetch_add(made.len(), Ordering::Relaxed);
            let fits = before + made.len() <= room;
            if !fits {
                self.bytes.fetch_sub(made.len(), Ordering::Relaxed);
            }
            fits.then_some(made)
        });
        made.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_compressed_once_for_each_coding() {
        let (forms, body) = (CompressedForms::default(), "text ".repeat(1_000));
        for coding in Coding::ALL {
            let first = forms.get(coding, body.as_bytes()).unwrap();
            let again = forms.get(coding, body.as_bytes()).unwrap();
            assert!(first.as_ptr() == again.as_ptr() && first.len() < body.len() / 10);
        }
    }

    #[test]
    fn forms_take_no_more_than_their_room() {
        let (forms, body) = (CompressedForms::default(), [0x9d; 8]);
        let made = Coding::ALL.map(|coding| forms.get(coding, &body).map_or(0, |form| form.len()));
        assert!(
            made.iter().sum::<usize>() <= CompressedForms::room(body.len()),
            "{made:?}"
        );
    }
}
