//! The response to `GET /v1/trace`: a line for each event from the workers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use hyper::body::{Body, Bytes, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::filter::TraceFilter;
use super::line::{Line, line_of};
use super::one_trace::Taken;
use crate::control::caller::Deadline;
use crate::control::{Request, RequestSender};
use crate::worker::{Traced, Tracer};

/// Maximum number of events that wait to be sent, a third of a kilobyte each.
const WAITING_MAX: usize = 2048;

/// How often to poll for events. A wake-up would cost the workers a system call each
/// time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A chunk of lines is sent once it has this many bytes.
const PART_BYTES: usize = 16 << 10;

/// A client that reads nothing for this long is disconnected.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// The lines of a trace. Dropping it ends the trace.
#[derive(Debug)]
pub struct Stream {
    sender: RequestSender,
    from: Receiver<Traced>,
    missed: Arc<AtomicU64>,
    missed_told: u64,
    filter: TraceFilter,
    /// Indexed by lane.
    pub interfaces: Vec<String>,
    deadline: Deadline,
    look: Interval,
    _place: Taken,
}

impl Stream {
    /// A stream, and the tracer for the workers.
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
        let (missed_told, interfaces) = (0, Vec::new());
        let stream =
            Self { sender, from, missed, missed_told, filter, interfaces, deadline, look, _place: place };
        (stream, tracer)
    }

    /// The next lines; empty if there are none.
    fn part(&mut self) -> Vec<u8> {
        let mut part = Vec::new();
        // Bounds the work of one call, even if all events are filtered out.
        for traced in self.from.try_iter().take(WAITING_MAX) {
            if let Some(event) = line_of(&traced, &self.interfaces, self.filter.export) {
                put(&mut part, &Line::Told(Box::new(event)));
            }
            if part.len() >= PART_BYTES {
                break;
            }
        }
        let missed = self.missed.load(Ordering::Relaxed);
        if missed > self.missed_told {
            put(&mut part, &Line::Missed { missed: missed - self.missed_told });
            self.missed_told = missed;
        }
        part
    }
}

fn put(part: &mut Vec<u8>, line: &Line) {
    // Neither writing to memory nor serializing these values can fail.
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
        // hyper polls only while the client reads.
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
        // If the channel is full, the workers notice by themselves, because the receiving
        // end closes.
        let _ = self.sender.ask(Request::EndTrace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::channel;
    use crate::control::trace::OneTrace;

    /// Being polled shows that the client still reads.
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
