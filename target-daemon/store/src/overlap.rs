//! Which operations of an export may run at the same time.
//!
//! Two operations conflict if their ranges overlap and at least one of them writes. An
//! operation waits for every earlier operation that it conflicts with, including those that
//! are still waiting. So conflicting operations run one at a time in the order of their
//! arrival: none is overtaken, and none starves.
//!
//! ```text
//! arrival ──►  W 0–8    R 4–6    W 20–24    R 5–30    R 100–101
//!              runs     waits    runs       waits     runs
//!                └────────┘        │          │
//!                └─────────────────┴──────────┘ for both writes
//! ```
//!
//! Pure: no I/O, no clock, and no memory except what `new` allocates.

use super::{Geometry, SECTOR_BYTES};
use crate::plant::{Bug, planted};

/// The sectors that an operation touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first one.
    pub first: u64,
    /// One past the last.
    pub end: u64,
    /// Whether it changes them.
    pub writes: bool,
}

impl Span {
    /// All sectors that can exist.
    pub fn everything(writes: bool) -> Self {
        Self { first: 0, end: u64::MAX, writes }
    }

    /// Rounds the span to whole blocks. A store that writes part of a block reads and
    /// rewrites all of it, so an operation on its other sectors conflicts as well.
    #[must_use]
    pub fn in_blocks_of(self, geometry: Geometry) -> Self {
        let sectors = u64::from(geometry.block_bytes) / SECTOR_BYTES;
        if sectors <= 1 {
            return self;
        }
        let end = self.end.checked_next_multiple_of(sectors).unwrap_or(u64::MAX);
        Self { first: self.first - self.first % sectors, end, ..self }
    }

    fn conflicts_with(&self, other: &Self) -> bool {
        (self.writes || other.writes) && self.first < other.end && other.first < self.end
    }
}

/// There is no room for another operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverlapFull;

/// The operations that run or wait, in the order of their arrival.
///
/// Lookups scan all of them. That is fast because they are contiguous: the 64 of an
/// initiator's window take one and a half KiB, which stay in the first-level cache, and
/// comparing them takes less time than following the pointers of a tree to its second
/// level.
#[derive(Debug)]
pub struct Overlap {
    entries: Vec<Entry>,
    capacity: usize,
}

#[derive(Debug)]
struct Entry {
    span: Span,
    id: u16,
    /// The number of earlier operations that it conflicts with and that have not left.
    blockers: u16,
}

impl Overlap {
    /// Room for `capacity` operations. All memory is allocated here.
    pub fn new(capacity: u16) -> Self {
        let capacity = usize::from(capacity);
        Self { entries: Vec::with_capacity(capacity), capacity }
    }

    /// Adds an operation, under an id that no other one has now. Returns whether it may run
    /// at once; otherwise [`Self::leave`] reports when.
    ///
    /// # Errors
    ///
    /// There is no room for it.
    pub fn enter(&mut self, id: u16, span: Span) -> Result<bool, OverlapFull> {
        if self.entries.len() >= self.capacity {
            return Err(OverlapFull);
        }
        let mut blockers = self.entries.iter().filter(|entry| entry.span.conflicts_with(&span)).count();
        if planted(Bug::NoOverlapGuard) {
            blockers = 0;
        }
        self.entries.push(Entry { span, id, blockers: blockers as u16 });
        Ok(blockers == 0)
    }

    /// Whether an operation with this span could run at once if it arrived now.
    #[inline]
    pub fn is_clear(&self, span: Span) -> bool {
        planted(Bug::NoOverlapGuard) || !self.entries.iter().any(|entry| entry.span.conflicts_with(&span))
    }

    /// Removes an operation that has ended or was cancelled. Calls `ready`, in the order of
    /// their arrival, for those that may run now.
    pub fn leave(&mut self, id: u16, mut ready: impl FnMut(u16)) {
        let Some(at) = self.entries.iter().position(|entry| entry.id == id) else { return };
        let left = self.entries.remove(at);
        for later in self.entries.iter_mut().skip(at) {
            if later.blockers > 0 && later.span.conflicts_with(&left.span) {
                later.blockers -= 1;
                if later.blockers == 0 {
                    ready(later.id);
                }
            }
        }
    }

    /// The operations with exactly this span, the oldest first.
    pub fn with_span(&self, span: Span) -> impl Iterator<Item = u16> + '_ {
        self.entries.iter().filter(move |entry| entry.span == span).map(|entry| entry.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn span(first: u64, end: u64, writes: bool) -> Span {
        Span { first, end, writes }
    }

    fn left(overlap: &mut Overlap, id: u16) -> Vec<u16> {
        let mut ready = Vec::new();
        overlap.leave(id, |id| ready.push(id));
        ready
    }

    #[test]
    fn the_picture_above() {
        let mut overlap = Overlap::new(5);
        let spans = [
            span(0, 8, true),
            span(4, 6, false),
            span(20, 24, true),
            span(5, 30, false),
            span(100, 101, false),
        ];
        let runs = (0..5).zip(spans).map(|(id, span)| overlap.enter(id, span).unwrap());
        assert_eq!(runs.collect::<Vec<_>>(), [true, false, true, false, true]);
        assert_eq!(overlap.enter(5, spans[4]), Err(OverlapFull));
        assert!(left(&mut overlap, 2).is_empty());
        assert_eq!(left(&mut overlap, 0), [1, 3]);
        assert!(left(&mut overlap, 0).is_empty(), "it has left");
    }

    /// A write that waits for a read holds up the reads that come after it.
    #[test]
    fn no_operation_overtakes() {
        let mut overlap = Overlap::new(4);
        assert_eq!(overlap.enter(9, span(0, 8, false)), Ok(true));
        assert_eq!(overlap.enter(7, span(4, 12, true)), Ok(false));
        assert_eq!(overlap.enter(8, span(0, 5, false)), Ok(false), "behind the write");
        assert_eq!(left(&mut overlap, 9), [7]);
        assert_eq!(left(&mut overlap, 7), [8]);
    }

    #[test]
    fn spans_touch_whole_blocks() {
        let four = Geometry { block_bytes: 4096, ..Geometry::new(1000, 4096) };
        for (first, end, expected) in
            [(0, 8, (0, 8)), (1, 2, (0, 8)), (7, 9, (0, 16)), (8, 9, (8, 16)), (0, u64::MAX, (0, u64::MAX))]
        {
            let rounded = span(first, end, true).in_blocks_of(four);
            assert_eq!((rounded.first, rounded.end, rounded.writes), (expected.0, expected.1, true));
            let same = span(first, end, false);
            assert_eq!(same.in_blocks_of(Geometry::new(1000, 4096)), same);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(Span),
        /// One of the running operations leaves.
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let range = (0..40u64, 1..12u64, any::<bool>())
            .prop_map(|(first, count, writes)| span(first, first + count, writes));
        vec(prop_oneof![3 => range.prop_map(Step::Enter), 2 => any::<usize>().prop_map(Step::Leave)], 0..200)
    }

    /// The rule in its simplest form, over all operations that have not left.
    #[derive(Default)]
    struct Model {
        /// In the order of arrival, and whether each runs.
        held: Vec<(u16, Span, bool)>,
    }

    impl Model {
        fn blocked(&self, at: usize) -> bool {
            let clash = |a: &Span, b: &Span| {
                (a.writes || b.writes) && (a.first..a.end).any(|sector| (b.first..b.end).contains(&sector))
            };
            self.held[..at].iter().any(|(_, earlier, _)| clash(earlier, &self.held[at].1))
        }

        /// Starts all that may start; returns their ids.
        fn start(&mut self) -> Vec<u16> {
            let may: Vec<_> =
                (0..self.held.len()).filter(|at| !self.held[*at].2 && !self.blocked(*at)).collect();
            may.into_iter().map(|at| (self.held[at].2 = true, self.held[at].0).1).collect()
        }
    }

    const CAPACITY: u16 = 24;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// At every step the operations that may run match the model, so conflicting
        /// operations never run together and keep the order of arrival. In the end all have
        /// run. `is_clear` predicts the result of `enter`.
        #[test]
        fn as_the_model(steps in steps()) {
            let mut overlap = Overlap::new(CAPACITY);
            let mut model = Model::default();
            let mut free: Vec<u16> = (0..CAPACITY).collect();
            let mut steps = steps;
            steps.extend((0..2 * CAPACITY).map(|_| Step::Leave(0)));
            for step in steps {
                match step {
                    Step::Enter(span) => {
                        let Some(id) = free.pop() else {
                            prop_assert_eq!(overlap.enter(999, span), Err(OverlapFull));
                            continue;
                        };
                        let clear = overlap.is_clear(span);
                        let runs = overlap.enter(id, span).unwrap();
                        prop_assert_eq!(clear, runs);
                        model.held.push((id, span, false));
                        let started = model.start();
                        prop_assert_eq!(runs, started.contains(&id));
                        prop_assert!(started.iter().all(|other| *other == id));
                    }
                    Step::Leave(which) => {
                        let running: Vec<_> = model.held.iter().filter(|held| held.2).map(|held| held.0).collect();
                        prop_assert!(!running.is_empty() || model.held.is_empty(), "one of them runs");
                        let Some(&id) = running.get(which % running.len().max(1)) else { continue };
                        model.held.retain(|held| held.0 != id);
                        free.push(id);
                        prop_assert_eq!(left(&mut overlap, id), model.start());
                    }
                }
            }
            prop_assert!(model.held.is_empty());
            prop_assert!(overlap.entries.is_empty());
        }
    }
}
