//! The answer to `GET /v1/trace`: a line for each thing that workers tell.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::filter::TraceFilter;
use super::line::{Missed, line_of};
use super::one_trace::Taken;
use crate::control::caller::Deadline;
use crate::control::{Request, RequestSender};
use crate::worker::{Traced, Tracer};

/// What may wait to be told: a third of a kilobyte each.
const WAITING_MAX: usize = 2048;

/// How often is looked whether there is anything. Being woken would cost the
/// workers a system call each time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// No more lines are put together beyond this many bytes.
const PART_BYTES: usize = 16 << 10;

/// A client that takes nothing for so long has no use for it.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Lines, as they come. Dropping it ends the trace.
#[derive(Debug)]
pub struct Stream {
    sender: RequestSender,
    from: Receiver<Traced>,
    missed: Arc<AtomicU64>,
    missed_told: u64,
    filter: TraceFilter,
    /// By the index of the lane.
    interfaces: Vec<String>,
    deadline: Deadline,
    look: Interval,
    _place: Taken,
}

impl Stream {
    /// A stream, and what is to be given to the workers.
    pub fn new(
        filter: TraceFilter,
        sender: RequestSender,
        place: Taken,
        deadline: Deadline,
    ) -> (Self, Tracer) {
        let (to, from) = bounded(WAITING_MAX);
        let missed = Arc::<AtomicU64>::default();
        let tracer = Tracer { every: filter.every, dropped: filter.dropped, to, missed: Arc::clone(&missed) };
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let interfaces = Vec::new();
        let stream =
            Self { sender, from, missed, missed_told: 0, filter, interfaces, deadline, look, _place: place };
        (stream, tracer)
    }

    /// The same, with the interface of each lane.
    #[must_use]
    pub fn on(mut self, interfaces: Vec<String>) -> Self {
        self.interfaces = interfaces;
        self
    }

    /// The next lines; empty, if there is nothing to tell.
    fn part(&mut self) -> Vec<u8> {
        let mut part = Vec::new();
        // Of what is for other exports, no more than this without a pause.
        for traced in self.from.try_iter().take(WAITING_MAX) {
            if let Some(event) = line_of(&traced, &self.interfaces, self.filter.export) {
                put(&mut part, &event);
            }
            if part.len() >= PART_BYTES {
                break;
            }
        }
        let missed = self.missed.load(Ordering::Relaxed);
        if missed > self.missed_told {
            put(&mut part, &Missed { missed: missed - self.missed_told });
            self.missed_told = missed;
        }
        part
    }
}

fn put(part: &mut Vec<u8>, line: &impl Serialize) {
    // Neither writing to memory nor these values can fail.
    if serde_json::to_writer(&mut *part, line).is_ok() {
        part.push(b'\n');
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Asked for only while the client takes what there is.
        self.deadline.set(TAKEN_WITHIN);
        loop {
            let part = self.part();
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(part.into()))));
            }
            ready!(self.look.poll_tick(context));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Where this finds no room, the workers find out by themselves: the end of
        // the channel goes, too.
        let _ = self.sender.ask(Request::EndTrace);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::control::channel;
    use crate::control::trace::OneTrace;

    /// By being asked for more it knows that the client takes what it is told.
    #[test]
    fn a_stream_that_is_read_moves_its_deadline() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (sender, asked) = channel().unwrap();
            let deadline = Deadline::after(Duration::ZERO);
            let filter = TraceFilter::parse("").unwrap();
            let place = OneTrace::default();
            let (mut stream, _tracer) =
                Stream::new(filter, sender, place.take("a").unwrap(), deadline.clone());
            let before = deadline.when();
            let frame = std::future::poll_fn(|context| {
                assert!(Pin::new(&mut stream).poll_frame(context).is_pending());
                Poll::Ready(())
            });
            frame.await;
            assert!(deadline.when() > before + TAKEN_WITHIN - LOOK_EVERY);
            drop(stream);
            assert!(matches!(asked.next(), Some(Request::EndTrace)));
            assert!(place.take("b").is_ok());
        });
    }
}
