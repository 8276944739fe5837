//! A thread of its own for each stream, so that a dying terminal, a full pipe or a slow reader never
//! stops the caller.
//!
//! The queue is bounded by what it holds: progress goes first, then facts are counted instead of
//! kept. What the lines look like is the painter's affair.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages waiting, above which progress is dropped.
const PROGRESS_LIMIT: usize = 64;
/// Octets waiting, above which facts are counted instead of kept.
const FACT_LIMIT: usize = 8 << 20;
/// How long to wait before a stream that is full, and does not block, is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// What may become of a message when the reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Dropped first.
    Progress,
    /// Kept as long as there is room.
    Fact,
    /// Kept always; there are few of it.
    Last,
}

/// What goes through a pump.
pub(super) trait Message: Send + 'static {
    fn weight(&self) -> Weight;
    /// About how many octets it holds.
    fn size(&self) -> usize;
    /// Says that facts were dropped.
    fn missed(number: u64) -> Self;
}

/// What a pump's thread does with messages.
pub(super) trait Painter<M>: Send + 'static {
    fn paint(&mut self, message: M);
    /// Called about every [`Painter::pause`].
    fn tick(&mut self) {}
    /// The longest time between two ticks.
    fn pause(&self) -> Duration {
        Duration::from_secs(3600)
    }
    /// Called once, after the last message.
    fn end(&mut self) {}
    /// Whether nobody reads what it paints any more.
    fn is_broken(&self) -> bool {
        false
    }
}

pub(super) struct Pump<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    state: Mutex<State<M>>,
    work: Condvar,
    rest: Condvar,
}

struct State<M> {
    queue: VecDeque<M>,
    size: usize,
    missed: u64,
    broken: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Painting,
    Closing,
    Ended,
}

impl<M: Message> Pump<M> {
    /// Starts the thread. Where none can be had, everything is dropped.
    pub(super) fn start(painter: impl Painter<M>) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                size: 0,
                missed: 0,
                broken: false,
                stage: Stage::Idle,
            }),
            work: Condvar::new(),
            rest: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("report".into())
            .spawn(move || theirs.run(painter));
        if thread.is_err() {
            shared.lock().stage = Stage::Ended;
        }
        Self { shared }
    }

    /// Hands a message over, or drops it; never waits for the stream.
    pub(super) fn push(&self, message: M) {
        let mut state = self.shared.lock();
        if matches!(state.stage, Stage::Closing | Stage::Ended) {
            return;
        }
        match message.weight() {
            Weight::Progress if state.queue.len() >= PROGRESS_LIMIT => return,
            Weight::Fact if state.size + message.size() > FACT_LIMIT => {
                state.missed += 1;
                return;
            }
            Weight::Progress | Weight::Fact | Weight::Last => {}
        }
        if state.missed > 0 && (state.size < FACT_LIMIT / 2 || message.weight() == Weight::Last) {
            let note = M::missed(std::mem::take(&mut state.missed));
            state.add(note);
        }
        state.add(message);
        self.shared.work.notify_one();
    }

    /// Waits until all has been written, at most until `deadline`.
    pub(super) fn flush(&self, deadline: Instant) {
        let mut state = self.shared.lock();
        while !state.at_rest() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.rest.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Hands a message over, and waits for as long as its stream takes it: for what must not be
    /// dropped, and only where nothing else waits for the caller. Answers whether the stream still
    /// has a reader.
    pub(super) fn deliver(&self, message: M) -> bool {
        self.push(message);
        let mut state = self.shared.lock();
        while !state.at_rest() {
            let waited = self.shared.rest.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        !state.broken
    }

    /// Takes no more, and waits until all has been written, at most until `deadline`; then what is
    /// left is given up.
    pub(super) fn close(&self, deadline: Instant) {
        let mut state = self.shared.lock();
        if matches!(state.stage, Stage::Closing | Stage::Ended) {
            return;
        }
        state.stage = Stage::Closing;
        self.shared.work.notify_one();
        drop(state);
        self.flush(deadline);
    }
}

impl<M: Message> State<M> {
    fn at_rest(&self) -> bool {
        match self.stage {
            Stage::Ended => true,
            Stage::Idle => self.queue.is_empty(),
            Stage::Painting | Stage::Closing => false,
        }
    }

    fn add(&mut self, message: M) {
        self.size += message.size();
        self.queue.push_back(message);
    }
}

impl<M: Message> Shared<M> {
    // A painter that panicked leaves a whole queue behind: the lock is taken all the same.
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut painter: impl Painter<M>) {
        let _ended = Ended(self);
        let mut ticked = Instant::now();
        loop {
            let next = self.next(ticked + painter.pause());
            match next {
                Next::Paint(message) => {
                    painter.paint(message);
                    if painter.is_broken() {
                        self.lock().broken = true;
                    }
                }
                Next::Tick => {}
                Next::End => break painter.end(),
            }
            if ticked.elapsed() >= painter.pause() {
                ticked = Instant::now();
                painter.tick();
            }
        }
    }

    fn next(&self, tick: Instant) -> Next<M> {
        let mut state = self.lock();
        loop {
            if let Some(message) = state.queue.pop_front() {
                state.size -= message.size();
                if state.stage == Stage::Idle {
                    state.stage = Stage::Painting;
                }
                return Next::Paint(message);
            }
            match state.stage {
                Stage::Closing | Stage::Ended => return Next::End,
                Stage::Painting => {
                    state.stage = Stage::Idle;
                    self.rest.notify_all();
                }
                Stage::Idle => {}
            }
            let left = tick.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Tick;
            }
            let waited = self.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

enum Next<M> {
    Paint(M),
    Tick,
    End,
}

/// Says that the thread is over, also when a painter panicked.
struct Ended<'a, M: Message>(&'a Shared<M>);

impl<M: Message> Drop for Ended<'_, M> {
    fn drop(&mut self) {
        self.0.lock().stage = Stage::Ended;
        self.0.rest.notify_all();
    }
}

/// A stream that, once broken, swallows everything.
pub(super) struct Out(Option<Box<dyn Write + Send>>);

impl Out {
    pub(super) fn new(stream: Box<dyn Write + Send>) -> Self {
        Self(Some(stream))
    }

    /// Writes all of `text`, or breaks the stream.
    pub(super) fn write(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(stream) = &mut self.0 {
            if rest.is_empty() {
                if stream.flush().is_err() {
                    self.0 = None;
                }
                return;
            }
            match stream.write(rest) {
                Ok(0) => self.0 = None,
                Ok(written) => rest = &rest[written..],
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => std::thread::sleep(FULL_PAUSE),
                    _ => self.0 = None,
                },
            }
        }
    }
}

/// Text written as it comes, ends of lines included.
pub(super) struct Plainly(pub(super) Out);

impl<M: Message + AsRef<str>> Painter<M> for Plainly {
    fn paint(&mut self, text: M) {
        self.0.write(text.as_ref());
    }

    fn is_broken(&self) -> bool {
        self.0.0.is_none()
    }
}
