//! The statements that are proven to leave nothing in a session, by node; writes may leave values of sequences.

use std::sync::atomic::{AtomicU64, Ordering};

/// Most nodes for which a proof is kept; on any others the session is always reset.
const NODES_MAX: usize = 32;

/// The proofs of one statement; nodes are identified by their indices.
///
/// A proof holds for one revision of a node's catalogue: the next one invalidates it.
#[derive(Debug)]
pub struct Stateless(Box<[AtomicU64; NODES_MAX]>);

impl Default for Stateless {
    fn default() -> Self {
        // Revisions begin with 1.
        Self(Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Stateless {
    /// Records a proof for a revision of a node's catalogue.
    pub fn prove(&self, node: usize, revision: u64) {
        if let Some(proven) = self.0.get(node) {
            proven.store(revision, Ordering::Relaxed);
        }
    }

    /// Whether the statement is proven to leave nothing on a node at a revision of its catalogue.
    pub fn is_proven(&self, node: usize, revision: u64) -> bool {
        let proven = self.0.get(node);
        proven.is_some_and(|it| it.load(Ordering::Relaxed) == revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_void_with_the_next_revision_and_on_other_nodes() {
        let stateless = Stateless::default();
        assert!(!stateless.is_proven(0, 1));
        stateless.prove(0, 1);
        assert!(stateless.is_proven(0, 1));
        assert!(!stateless.is_proven(0, 2) && !stateless.is_proven(1, 1));
        stateless.prove(NODES_MAX, 1);
        assert!(!stateless.is_proven(NODES_MAX, 1));
    }
}
