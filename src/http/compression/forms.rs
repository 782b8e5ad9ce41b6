//! The compressed forms of a stored answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Coding;
use super::body::PIECE;
use super::encoder::whole;

/// The compressed forms of one stored body, each made when it is first wanted.
#[derive(Debug, Default)]
pub struct CompressedForms {
    forms: [Form; Coding::ALL.len()],
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Form {
    is_begun: AtomicBool,
    /// None if there was no room for it.
    made: OnceLock<Option<Bytes>>,
}

impl CompressedForms {
    /// Returns the bytes that all forms of a body may take together: text takes less.
    #[must_use]
    pub fn room(length: usize) -> usize {
        length
    }

    /// Returns a body in a form; none if there is no room for it, or while it is made. A large body is compressed
    /// by a thread for that, so that no request waits for it.
    pub(super) fn get(self: &Arc<Self>, coding: Coding, body: &Bytes) -> Option<Bytes> {
        let form = &self.forms[coding as usize];
        if let Some(made) = form.made.get() {
            return made.clone();
        }
        if form.is_begun.swap(true, Ordering::Relaxed) {
            return None;
        }
        if body.len() <= PIECE {
            return self.make(coding, body);
        }
        let (forms, body) = (Arc::clone(self), body.clone());
        tokio::task::spawn_blocking(move || forms.make(coding, &body));
        None
    }

    fn make(&self, coding: Coding, body: &[u8]) -> Option<Bytes> {
        let made = whole(coding, body).ok();
        // In memory of its own size.
        let made = made.map(|made| Bytes::copy_from_slice(&made));
        let made = made.filter(|made| self.fits(made.len(), Self::room(body.len())));
        self.forms[coding as usize]
            .made
            .get_or_init(|| made)
            .clone()
    }

    fn fits(&self, bytes: usize, room: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= room;
        if !fits {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_compressed_once_for_each_coding() {
        let forms = Arc::new(CompressedForms::default());
        let body = Bytes::from("text ".repeat(1_000));
        for coding in Coding::ALL {
            let first = forms.get(coding, &body).unwrap();
            let again = forms.get(coding, &body).unwrap();
            assert!(first.as_ptr() == again.as_ptr() && first.len() < body.len() / 10);
        }
    }

    #[tokio::test]
    async fn a_large_body_is_compressed_by_another_thread() {
        let forms = Arc::new(CompressedForms::default());
        let body = Bytes::from("text ".repeat(100_000));
        assert_eq!(forms.get(Coding::Gzip, &body), None);
        while forms.get(Coding::Gzip, &body).is_none() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn forms_take_no_more_than_their_room() {
        let (forms, body) = (
            Arc::new(CompressedForms::default()),
            Bytes::from_static(&[0x9d; 8]),
        );
        let made = Coding::ALL.map(|coding| forms.get(coding, &body).map_or(0, |form| form.len()));
        assert!(
            made.iter().sum::<usize>() <= CompressedForms::room(body.len()),
            "{made:?}"
        );
    }
}
