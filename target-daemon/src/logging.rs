//! The log, which never waits for its reader.
//!
//! In a process that serves, log lines go to a bounded queue, and a dedicated thread writes
//! them to standard error. If standard error is not read (a full pipe, a journal that
//! hangs), the queue fills. Further lines are dropped and counted, and the log reports the
//! count once it is read again. Until that thread runs, which is after privileges were
//! dropped, a line is written at once if that does not block.

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

use crossbeam_channel::{Receiver, Sender, unbounded};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::privilege::{self, Role};
use crate::text::printable;

/// The most bytes that wait for a reader.
const BYTES_MAX: usize = 1 << 20;

/// A pipe or socket that is ready accepts this much without blocking (PIPE_BUF).
const AT_ONCE_BYTES: usize = 4096;

/// How long the process waits for a reader before it exits.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Waiting lines, in order.
struct Queue {
    lines: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    /// Bytes that are not written yet.
    bytes: AtomicUsize,
    /// Lines dropped since the log last reported it.
    dropped: AtomicU64,
    has_thread: AtomicBool,
}

static QUEUE: LazyLock<Queue> = LazyLock::new(Queue::new);

impl Queue {
    fn new() -> Self {
        Self {
            lines: unbounded(),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            has_thread: AtomicBool::new(false),
        }
    }

    fn push(&self, line: &[u8]) {
        // Do not admit a line now and then: keep the gap in one place.
        let most = if self.dropped.load(SeqCst) > 0 { BYTES_MAX / 2 } else { BYTES_MAX };
        let waiting = self.bytes.load(SeqCst);
        // Where nothing waits, a line may be longer, such as a report on many exports.
        if waiting > 0 && waiting + line.len() > most {
            self.dropped.fetch_add(1, SeqCst);
            // The thread may have written the rest meanwhile, and sleep.
            if self.bytes.load(SeqCst) == 0 {
                self.admit_dropped();
            }
            return;
        }
        self.admit_dropped();
        // Before the thread runs, a long line is written in parts.
        let part = if self.has_thread.load(SeqCst) { usize::MAX } else { AT_ONCE_BYTES };
        line.chunks(part).for_each(|part| self.append(part));
    }

    /// Reports how many lines are missing, at the position of the gap.
    fn admit_dropped(&self) {
        let dropped = self.dropped.swap(0, SeqCst);
        if dropped > 0 {
            let now = Timestamp::now();
            let what = format!("{dropped} log lines were dropped: standard error was not read");
            self.append(format!("[{now:.3} WARN ] {what}\n").as_bytes());
        }
    }

    fn append(&self, line: &[u8]) {
        self.bytes.fetch_add(line.len(), SeqCst);
        // The receiver is never dropped.
        let _ = self.lines.0.send(line.to_vec());
    }

    /// Writes a line; waits for the reader as long as it takes.
    fn write(&self, line: &[u8], mut to: &io::Stderr) {
        let mut rest = line;
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The parent process made standard error non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => drop(is_ready(to, FLUSH_WITHIN)),
                // There is no reader any more, which is no reason to stop serving.
                Err(_) => break,
            }
        }
        self.bytes.fetch_sub(line.len(), SeqCst);
    }

    /// Writes what can be written without blocking.
    fn write_ready(&self, to: &io::Stderr) {
        while is_ready(to, Duration::ZERO)
            && let Ok(line) = self.lines.1.try_recv()
        {
            self.write(&line, to);
        }
    }

    /// The body of the thread.
    fn run(&self, to: &io::Stderr) {
        for line in &self.lines.1 {
            self.write(&line, to);
            if self.lines.1.is_empty() {
                self.admit_dropped();
            }
        }
    }
}

/// Whether it accepts data without blocking, waiting at most `within`.
fn is_ready(to: &io::Stderr, within: Duration) -> bool {
    let mut fds = [PollFd::new(to, PollFlags::OUT)];
    let within = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
    poll(&mut fds, Some(&within)).is_ok_and(|ready| ready > 0)
}

/// The target of the `log` crate.
struct Sink;

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn put(line: &[u8]) {
    QUEUE.push(line);
    if !QUEUE.has_thread.load(SeqCst) {
        QUEUE.write_ready(&io::stderr());
    }
}

/// Sets up the log according to RUST_LOG and RUST_LOG_STYLE. If the process `serves`, the
/// log waits for no reader.
pub fn init(serves: bool) {
    let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    builder.format_timestamp_millis().format_target(false);
    if serves {
        builder.target(env_logger::Target::Pipe(Box::new(Sink)));
        // The same rule as for a log that goes to standard error directly.
        let is = |name, known: fn(&str) -> bool| known(&env::var(name).unwrap_or_default());
        let is_plain = is("RUST_LOG_STYLE", |style| ["always", "never"].contains(&style))
            || is("NO_COLOR", |value| !value.is_empty())
            || is("TERM", |term| ["", "dumb"].contains(&term));
        if io::stderr().is_terminal() && !is_plain {
            builder.write_style(env_logger::WriteStyle::Always);
        }
    }
    let lines = builder.build();
    log::set_max_level(lines.filter());
    // Fails only if there is a log already.
    let _ = log::set_boxed_logger(Box::new(OneLine(lines)));
}

/// A message is one line, whatever the names in it are.
struct OneLine(env_logger::Logger);

impl log::Log for OneLine {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.0.matches(record) {
            let message = record.args().to_string();
            let mut line = log::Record::builder();
            line.metadata(record.metadata().clone());
            self.0.log(&line.args(format_args!("{}", printable(&message))).build());
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Writes text to the log as it is.
pub fn say(text: &str) {
    put(text.as_bytes());
}

/// Starts the thread that writes the log. Must not be called before privileges are dropped.
///
/// # Errors
///
/// The thread could not be started.
pub fn start() -> io::Result<()> {
    let body = || {
        privilege::enter(Role::Helper);
        QUEUE.run(&io::stderr());
    };
    // First, so that from now on only this thread writes.
    QUEUE.has_thread.store(true, SeqCst);
    let started = thread::Builder::new().name("log".to_owned()).spawn(body);
    started.inspect_err(|_| QUEUE.has_thread.store(false, SeqCst))?;
    // The default hook writes to standard error itself.
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        say(&format!("thread '{}' {panic}\n{backtrace}\n", thread.name().unwrap_or("unnamed")));
        flush();
    }));
    Ok(())
}

/// Waits until everything is written, for at most a second. Called before the process
/// exits.
pub fn flush() {
    let (queue, end) = (&*QUEUE, Instant::now() + FLUSH_WITHIN);
    while queue.bytes.load(SeqCst) > 0 || queue.dropped.load(SeqCst) > 0 {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if queue.has_thread.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        } else {
            is_ready(&io::stderr(), left);
            queue.admit_dropped();
            queue.write_ready(&io::stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(queue: &Queue) -> Vec<String> {
        let lines = queue.lines.1.try_iter();
        lines
            .map(|line| {
                queue.bytes.fetch_sub(line.len(), SeqCst);
                String::from_utf8(line).unwrap()
            })
            .collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said_in_its_place() {
        let queue = Queue::new();
        let line = [b'x'; 1 << 10];
        let counts = || (queue.bytes.load(SeqCst), queue.dropped.load(SeqCst));
        for _ in 0..(BYTES_MAX >> 10) + 7 {
            queue.push(&line);
        }
        assert_eq!(counts(), (BYTES_MAX, 7));
        // A shorter line is not let in.
        let taken = queue.lines.1.recv().unwrap();
        queue.bytes.fetch_sub(taken.len(), SeqCst);
        queue.push(b"short");
        assert_eq!(queue.dropped.load(SeqCst), 8);
        while queue.bytes.load(SeqCst) > BYTES_MAX / 4 {
            let taken = queue.lines.1.recv().unwrap();
            queue.bytes.fetch_sub(taken.len(), SeqCst);
        }
        queue.push(b"after");
        let rest = text(&queue);
        let [.., notice, after] = rest.as_slice() else { unreachable!() };
        assert!(
            notice.ends_with("Z WARN ] 8 log lines were dropped: standard error was not read\n"),
            "{notice}"
        );
        assert_eq!(after, "after");
        assert_eq!(counts(), (0, 0));
    }

    #[test]
    fn a_line_that_is_too_long_is_let_in_where_nothing_waits() {
        let queue = Queue::new();
        let (long, dropped) = (vec![b'x'; BYTES_MAX + 1], || queue.dropped.load(SeqCst));
        queue.push(&long);
        queue.push(b"short");
        assert_eq!((queue.bytes.load(SeqCst), dropped()), (long.len(), 1));
        let rest = text(&queue);
        assert!(rest.concat().len() == long.len() && queue.bytes.load(SeqCst) == 0);
        queue.push(&long);
        assert_eq!(dropped(), 0);
        assert!(text(&queue).first().unwrap().contains("1 log lines were dropped"));
    }

    #[test]
    fn order_is_kept() {
        let queue = Queue::new();
        for line in ["a", "b", "c"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(text(&queue), ["a", "b", "c"]);
    }
}
