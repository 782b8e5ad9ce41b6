//! The tables in force.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::Routes;
use crate::upstream::Upstream;

/// Policies and endpoints in force; a reload swaps them whole.
pub struct LiveRoutes {
    current: Arc<ArcSwap<Routes>>,
    /// Held while a node of an upstream is drained and while tables are swapped: a drain applies
    /// either to the tables that are copied from or to those that are in force.
    swapping: Mutex<()>,
}

impl LiveRoutes {
    /// Puts the first tables in force.
    #[must_use]
    pub fn new(current: Arc<ArcSwap<Routes>>) -> Self {
        Self {
            current,
            swapping: Mutex::default(),
        }
    }

    /// Returns the tables for short use.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.current.load()
    }

    /// Returns the tables for longer use.
    #[must_use]
    pub fn load_full(&self) -> Arc<Routes> {
        self.current.load_full()
    }

    /// Puts other tables in force; they take over the drains of the present ones.
    pub fn swap(&self, next: Routes) {
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        next.upstreams.keep_drains(&self.current.load().upstreams);
        self.current.store(Arc::new(next));
    }

    /// Takes a node of an upstream out of the order or back in; `None` if there is no such node.
    pub fn drain_upstream(
        &self,
        upstream: &str,
        node: &str,
        drained: bool,
        now: Instant,
    ) -> Option<(Arc<Upstream>, usize)> {
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.current.load();
        let upstream = routes.upstreams.get(upstream)?;
        let index = upstream.nodes().iter().position(|it| it.name == node)?;
        upstream.selector().drain(index, drained, now);
        Some((Arc::clone(upstream), index))
    }
}
