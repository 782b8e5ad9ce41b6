//! Sums that all threads add to without sharing a cache line: each thread adds to cells of its own, and reading a
//! sum adds these up.
//!
//! A number that every request changes is a cache line that moves between all cores, however short the change.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More than the threads of most machines; those beyond share stripes.
pub const STRIPES: usize = 32;

/// Cells of one block: a page of memory, which a thread takes when it first adds to one of them.
const BLOCK_CELLS: usize = 512;

/// Most blocks of a thread, 256 KiB: enough for some 1,700 endpoints.
const BLOCKS: usize = 64;

/// The cells of one thread.
struct Stripe([OnceLock<Box<Block>>; BLOCKS]);

/// On cache lines of its own; two, because they are fetched in pairs.
#[repr(align(128))]
struct Block([AtomicU64; BLOCK_CELLS]);

static CELLS: [Stripe; STRIPES] = [const { Stripe([const { OnceLock::new() }; BLOCKS]) }; STRIPES];

/// The number of this thread's stripe.
#[must_use]
pub fn stripe_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}

/// A few sums, which lie side by side in each stripe.
///
/// They are never given back: metrics live as long as the process.
pub(crate) struct Sums(Place);

enum Place {
    Striped {
        block: usize,
        first: usize,
        count: usize,
    },
    /// What did not fit into the blocks.
    Shared(Box<[AtomicU64]>),
}

impl Sums {
    /// Makes so many sums, each zero.
    pub(crate) fn new(count: usize) -> Self {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let take = |taken| place_after(taken, count).map(|first| first + count);
        let taken = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let first = taken.ok().and_then(|taken| place_after(taken, count));
        Self(match first {
            Some(first) => Place::Striped {
                block: first / BLOCK_CELLS,
                first: first % BLOCK_CELLS,
                count,
            },
            None => Place::Shared((0..count).map(|_| AtomicU64::new(0)).collect()),
        })
    }

    /// Adds to one of them; what is added may also be a negative number's complement.
    pub(crate) fn add(&self, index: usize, by: u64) {
        self.of_this_thread()[index].fetch_add(by, Ordering::Release);
    }

    /// Adds a fraction to one of them, to which nothing else is added.
    pub(crate) fn add_fraction(&self, index: usize, by: f64) {
        let cell = &self.of_this_thread()[index];
        let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
        // It always has something to store.
        let _before = cell.fetch_update(Ordering::Release, Ordering::Relaxed, add);
    }

    /// Returns one of them.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.cells(index).fold(0, u64::wrapping_add)
    }

    /// Returns one of them that fractions are added to.
    pub(crate) fn get_fraction(&self, index: usize) -> f64 {
        self.cells(index).map(f64::from_bits).sum()
    }

    fn of_this_thread(&self) -> &[AtomicU64] {
        match &self.0 {
            Place::Striped {
                block,
                first,
                count,
            } => {
                let block = CELLS[stripe_of_this_thread()].0[*block].get_or_init(Block::new);
                &block.0[*first..first + count]
            }
            Place::Shared(cells) => cells,
        }
    }

    /// The value in each stripe that has one.
    fn cells(&self, index: usize) -> impl Iterator<Item = u64> {
        let (striped, shared) = match &self.0 {
            Place::Striped { block, first, .. } => (Some((*block, first + index)), None),
            Place::Shared(cells) => (None, cells.get(index)),
        };
        let striped = striped.into_iter().flat_map(|(block, cell)| {
            let blocks = CELLS.iter().filter_map(move |stripe| stripe.0[block].get());
            blocks.map(move |block| &block.0[cell])
        });
        let all = striped.chain(shared);
        all.map(|cell| cell.load(Ordering::Acquire))
    }
}

impl Block {
    fn new() -> Box<Self> {
        Box::new(Self(array::from_fn(|_| AtomicU64::new(0))))
    }
}

/// The first of so many cells that lie in one block, if all those before are taken.
fn place_after(taken: usize, count: usize) -> Option<usize> {
    let is_split = taken % BLOCK_CELLS + count > BLOCK_CELLS;
    let first = match is_split {
        true => taken.next_multiple_of(BLOCK_CELLS),
        false => taken,
    };
    (count <= BLOCK_CELLS && first + count <= BLOCKS * BLOCK_CELLS).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_all_threads_add_is_summed_exactly() {
        let sums = Sums::new(3);
        thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        sums.add(0, 1);
                        sums.add_fraction(2, 0.25);
                    }
                });
            }
        });
        let threads = 2 * STRIPES as u64;
        assert_eq!((sums.get(0), sums.get(1)), (threads * 1_000, 0));
        assert_eq!(
            sums.get_fraction(2).to_bits(),
            (threads as f64 * 250.0).to_bits()
        );
    }

    #[test]
    fn what_one_thread_adds_another_may_take_away() {
        let sums = Sums::new(1);
        sums.add(0, 3);
        thread::scope(|scope| {
            scope.spawn(|| sums.add(0, 2_u64.wrapping_neg()));
        });
        assert_eq!(sums.get(0), 1);
    }

    #[test]
    fn sums_share_neither_cells_nor_blocks_that_end_between_them() {
        let all: Vec<_> = (0..100).map(|_| Sums::new(15)).collect();
        for (number, sums) in (1..).zip(&all) {
            (0..15).for_each(|index| sums.add(index, number));
        }
        for (number, sums) in (1..).zip(&all) {
            assert!((0..15).all(|index| sums.get(index) == number));
        }
        assert_eq!(place_after(500, 15), Some(512));
        assert_eq!(place_after(497, 15), Some(497));
    }

    #[test]
    fn sums_for_which_there_is_no_cell_count_too() {
        assert_eq!(place_after(BLOCKS * BLOCK_CELLS - 1, 2), None);
        assert_eq!(place_after(0, BLOCK_CELLS + 1), None);
        let sums = Sums::new(BLOCK_CELLS + 1);
        sums.add(BLOCK_CELLS, 7);
        assert_eq!((sums.get(BLOCK_CELLS), sums.get(0)), (7, 0));
    }
}
