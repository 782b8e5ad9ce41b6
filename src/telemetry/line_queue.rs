//! Lines that wait for a thread which writes them in batches, so that no request waits for a log's reader.
//!
//! Each thread appends to a part of its own, so that appending neither waits for others nor shares a cache
//! line with them. A part that is full drops lines, which are counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use super::stripes::{STRIPES, stripe_of_this_thread};

/// Most bytes that wait in one part: some 6,000 lines, or a tenth of a second of a busy thread's.
const PART_BYTES_MAX: usize = 4 << 20;

/// The writer is woken early by a part of this size.
const PART_BYTES_URGENT: usize = 512 << 10;

/// How long lines are gathered before they are written.
const GATHERED_FOR: Duration = Duration::from_millis(2);

/// The queue; see the module.
pub(crate) struct LineQueue {
    parts: [Part; STRIPES],
    writer: OnceLock<Thread>,
    /// Whether the writer knows that there are lines.
    is_woken: AtomicBool,
    has_ended: AtomicBool,
}

/// Writes what is left when it is dropped.
#[must_use = "lines are written while it lives"]
pub struct LineWriter {
    queue: Arc<LineQueue>,
    thread: Option<JoinHandle<()>>,
}

impl LineWriter {
    /// Starts the thread that writes a queue's lines. It calls back with the number of lines that were
    /// dropped, if any were.
    pub(crate) fn start(
        queue: &Arc<LineQueue>,
        mut output: impl Write + Send + 'static,
        on_dropped: impl FnMut(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let lines = Arc::clone(queue);
        let thread = thread::Builder::new().name("access-lines".to_owned());
        let thread = thread.spawn(move || lines.run(&mut output, on_dropped))?;
        // Known to the queue before the first line, so that no wake-up is lost.
        let _only_start = queue.writer.set(thread.thread().clone());
        Ok(Self {
            queue: Arc::clone(queue),
            thread: Some(thread),
        })
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.queue.end();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// On cache lines of its own; two, because they are fetched in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Part(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Part {
    /// Nothing in a part can be half done.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineQueue {
    /// Starts empty; a [`LineWriter`] is to be started before the first line.
    pub(crate) fn new() -> Self {
        Self {
            parts: std::array::from_fn(|_| Part::default()),
            writer: OnceLock::new(),
            is_woken: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Appends a line, or drops and counts it. Lines of one thread keep their order.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut lines = self.parts[stripe_of_this_thread()].lock();
        let before = lines.bytes.len();
        if before + line.len() > PART_BYTES_MAX {
            lines.dropped += 1;
            return;
        }
        lines.bytes.extend_from_slice(line);
        let is_urgent = before < PART_BYTES_URGENT && lines.bytes.len() >= PART_BYTES_URGENT;
        // Under the lock: if it is set, the writer has not come to this part yet.
        let is_first =
            !self.is_woken.load(Ordering::Relaxed) && !self.is_woken.swap(true, Ordering::Relaxed);
        drop(lines);
        if is_first || is_urgent {
            self.wake();
        }
    }

    /// Writes what comes until [`end`](Self::end), and then what is left.
    fn run(&self, output: &mut impl Write, mut on_dropped: impl FnMut(u64)) {
        let mut batch = Vec::new();
        loop {
            while !self.is_woken.load(Ordering::Relaxed) && !self.has_ended() {
                thread::park();
            }
            if !self.has_ended() {
                thread::park_timeout(GATHERED_FOR);
            }
            let is_last = self.has_ended();
            self.is_woken.store(false, Ordering::Relaxed);
            let dropped = self.write_all(&mut batch, output);
            if dropped > 0 {
                on_dropped(dropped);
            }
            if is_last {
                return;
            }
        }
    }

    /// Lets [`run`](Self::run) write what is left and return.
    fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.wake();
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Writes the lines of all parts; returns how many were dropped. Whoever reads the log may be gone, as
    /// always.
    fn write_all(&self, batch: &mut Vec<u8>, output: &mut impl Write) -> u64 {
        let mut dropped = 0;
        for part in &self.parts {
            let mut lines = part.lock();
            std::mem::swap(&mut lines.bytes, batch);
            dropped += std::mem::take(&mut lines.dropped);
            drop(lines);
            if !batch.is_empty() {
                let _unreadable = output.write_all(batch);
                batch.clear();
                // After a burst its memory is given back.
                batch.shrink_to(PART_BYTES_URGENT);
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that takes one batch at a time.
    struct Reader(Sender<Vec<u8>>, Receiver<()>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            self.1.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_left_is_written_at_the_end_in_the_order_of_each_thread() {
        let queue = Arc::new(LineQueue::new());
        let (batches, written) = channel();
        let (permits, permitted) = channel();
        for _ in 0..10_000 {
            permits.send(()).unwrap();
        }
        let writer = LineWriter::start(&queue, Reader(batches, permitted), |_| {}).unwrap();
        thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let queue = &queue;
                scope.spawn(move || {
                    for number in 0..5_000 {
                        queue.push(format!("{name} {number}\n").as_bytes());
                    }
                });
            }
        });
        drop(writer);
        let text = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        assert_eq!(text.lines().count(), 15_000);
        for name in ["a ", "b ", "c "] {
            let numbers = text.lines().filter_map(|line| line.strip_prefix(name));
            assert!(
                numbers.eq((0..5_000).map(|number: u32| number.to_string())),
                "{name}"
            );
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_bounded_memory_and_what_it_misses_is_counted() {
        let queue = Arc::new(LineQueue::new());
        let (batches, written) = channel();
        let (permits, permitted) = channel();
        let (missed, counts) = channel();
        let reader = Reader(batches, permitted);
        let writer = LineWriter::start(&queue, reader, move |count| {
            missed.send(count).unwrap();
        });
        let writer = writer.unwrap();
        let line = vec![b'x'; 1 << 20];
        queue.push(&line);
        // The reader has the first line and does not go on.
        assert_eq!(written.recv().unwrap().len(), line.len());
        for _ in 0..10 {
            queue.push(&line);
        }
        assert_eq!(
            queue.parts[stripe_of_this_thread()].lock().bytes.len(),
            PART_BYTES_MAX
        );
        drop(permits);
        assert_eq!(counts.recv().unwrap(), 6);
        drop(writer);
    }
}
