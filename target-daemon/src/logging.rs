//! The log, which never waits for its reader.
//!
//! In a process that serves, log lines go to a bounded queue, and a dedicated thread writes
//! them to standard error. If standard error is not read (a full pipe, a journal that
//! hangs), the queue fills. Further lines are dropped and counted, and the log reports the
//! count once it is read again. Until that thread runs, which is after privileges were
//! dropped, a line is written at once if that does not block.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::privilege::{self, Role};

/// The most bytes that wait for a reader.
const BYTES_MAX: usize = 1 << 20;

/// A pipe or socket that is ready accepts this much without blocking (PIPE_BUF).
const AT_ONCE_BYTES: usize = 4096;

/// How long the process waits for a reader before it exits.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Waiting lines, in order.
#[derive(Debug)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines dropped since the log last reported it.
    dropped: u64,
    /// The thread is writing a line that has left the queue.
    writing: bool,
    has_thread: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue::EMPTY);
static CHANGED: Condvar = Condvar::new();

impl Queue {
    const EMPTY: Self =
        Self { lines: VecDeque::new(), bytes: 0, dropped: 0, writing: false, has_thread: false };

    fn push(&mut self, line: &[u8]) {
        // Do not admit a line now and then: keep the gap in one place.
        let most = if self.dropped > 0 { BYTES_MAX / 2 } else { BYTES_MAX };
        if self.bytes + line.len() > most {
            self.dropped += 1;
            return;
        }
        self.admit_dropped();
        self.append(line);
    }

    /// Reports how many lines are missing, at the position of the gap.
    fn admit_dropped(&mut self) {
        match std::mem::take(&mut self.dropped) {
            0 => {}
            dropped => self.append(
                format!(
                    "[{:.3} WARN ] {dropped} log lines were dropped: standard error was not read\n",
                    Timestamp::now()
                )
                .as_bytes(),
            ),
        }
    }

    fn append(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.lines.push_back(line.to_vec());
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        Some(line)
    }

    /// Whether no line waits and none is being written.
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && !self.writing && self.dropped == 0
    }

    /// Writes what can be written without blocking.
    fn write_ready(&mut self, to: &io::Stderr) {
        while self.lines.front().is_some() && is_ready(to, Duration::ZERO) {
            let Some(mut line) = self.pop() else { return };
            let now = line.len().min(AT_ONCE_BYTES);
            // A line that cannot be written is discarded: there is no reader.
            let written = to.lock().write(line.get(..now).unwrap_or_default()).unwrap_or(line.len());
            if written < line.len() {
                let rest = line.split_off(written);
                self.bytes += rest.len();
                self.lines.push_front(rest);
            }
        }
    }
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
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
    let mut queue = queue();
    queue.push(line);
    if !queue.has_thread {
        queue.write_ready(&io::stderr());
    }
    drop(queue);
    CHANGED.notify_all();
}

/// Sets up the log according to RUST_LOG and RUST_LOG_STYLE. If the process `serves`, the
/// log waits for no reader.
pub fn init(serves: bool) {
    let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    builder.format_timestamp_millis().format_target(false);
    if serves {
        builder.target(env_logger::Target::Pipe(Box::new(Sink)));
        let asked = env::var("RUST_LOG_STYLE").unwrap_or_default();
        if !["always", "never"].contains(&asked.as_str()) && is_coloured() {
            builder.write_style(env_logger::WriteStyle::Always);
        }
    }
    builder.init();
}

/// The same rule as for a log that goes to standard error directly.
fn is_coloured() -> bool {
    let has = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !has("NO_COLOR") && env::var_os("TERM").is_some_and(|term| term != "dumb")
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
        run(&io::stderr());
    };
    // First, so that from now on only this thread writes.
    queue().has_thread = true;
    let started = thread::Builder::new().name("log".to_owned()).spawn(body);
    if let Err(error) = started {
        queue().has_thread = false;
        return Err(error);
    }
    // The default hook writes to standard error itself.
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        say(&format!("thread '{}' {panic}\n{backtrace}\n", thread.name().unwrap_or("unnamed")));
        flush();
    }));
    Ok(())
}

fn run(to: &io::Stderr) {
    let mut waiting = queue();
    loop {
        if let Some(line) = waiting.pop() {
            waiting.writing = true;
            drop(waiting);
            write(to, &line);
            waiting = queue();
            waiting.writing = false;
            CHANGED.notify_all();
        } else if waiting.dropped > 0 {
            waiting.admit_dropped();
        } else {
            waiting = CHANGED.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Waits for the reader as long as it takes; only this thread does.
fn write(mut to: &io::Stderr, mut line: &[u8]) {
    while !line.is_empty() {
        match to.write(line) {
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The parent process made standard error non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => drop(is_ready(to, FLUSH_WITHIN)),
            // There is no reader any more, which is no reason to stop serving.
            Err(_) => return,
        }
    }
}

/// Waits until everything is written, for at most a second. Called before the process
/// exits.
pub fn flush() {
    let end = Instant::now() + FLUSH_WITHIN;
    let mut waiting = queue();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if waiting.is_idle() || left.is_zero() {
            return;
        }
        if waiting.has_thread {
            waiting = CHANGED.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        } else {
            is_ready(&io::stderr(), left);
            waiting.admit_dropped();
            waiting.write_ready(&io::stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said_in_its_place() {
        let mut queue = Queue::EMPTY;
        let line = [b'x'; 1 << 10];
        for _ in 0..(BYTES_MAX >> 10) + 7 {
            queue.push(&line);
        }
        assert_eq!((queue.bytes, queue.dropped), (BYTES_MAX, 7));
        // A shorter line is not let in.
        queue.pop();
        queue.push(b"short");
        assert_eq!(queue.dropped, 8);
        while queue.bytes > BYTES_MAX / 4 {
            queue.pop();
        }
        queue.push(b"after");
        let rest = text(&mut queue);
        let [.., notice, after] = rest.as_slice() else { unreachable!() };
        assert!(
            notice.ends_with("Z WARN ] 8 log lines were dropped: standard error was not read\n"),
            "{notice}"
        );
        assert_eq!(after, "after");
        assert!(queue.is_idle() && queue.bytes == 0);
    }

    #[test]
    fn order_is_kept() {
        let mut queue = Queue::EMPTY;
        for line in ["a", "b", "c"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(text(&mut queue), ["a", "b", "c"]);
    }
}
