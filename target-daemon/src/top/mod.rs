//! `xblade top`: what a running daemon does, second by second.
//!
//! ```text
//! source.rs ─ Sample ─► rates.rs ─ Rates ─► screen.rs, view.rs (a terminal)
//! the socket            two samples    └──► plain.rs (lines for scripts)
//! ```

mod plain;
mod rates;
mod screen;
mod source;
mod view;

pub use rates::{Rates, Row, between};
pub use source::{Samples, Socket};
pub use view::View;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::config::Top;
use crate::control::CallError;

/// Why it ends otherwise than by its user.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Nobody answers.
    #[error(transparent)]
    Unreachable(#[from] CallError),
    /// No terminal to draw on.
    #[error(
        "standard output is not a terminal: use --once, or --batch N, for lines that another program can read"
    )]
    NoTerminal,
    /// The terminal or the pipe has a fault.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl TopError {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable(error) => error.exit_code(),
            Self::NoTerminal => 2,
            Self::Output(_) => 1,
        }
    }
}

/// Runs until its user ends it, or the lines that were asked for are printed.
///
/// # Errors
///
/// Those of [`TopError`].
pub fn run(options: &Top) -> Result<(), TopError> {
    let mut samples = Socket::new(options.control.clone());
    let interval = Duration::from_secs_f64(options.interval);
    if let Some(count) = options.lines() {
        return batch(&mut samples, interval, count, &mut io::stdout().lock());
    }
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    screen::run(&mut samples, interval)
}

/// Prints the rates of so many intervals.
fn batch(
    samples: &mut impl Samples,
    interval: Duration,
    count: u64,
    to: &mut impl Write,
) -> Result<(), TopError> {
    let mut before = samples.sample()?;
    for n in 0..count {
        std::thread::sleep(interval);
        let now = samples.sample()?;
        if n > 0 {
            writeln!(to)?;
        }
        to.write_all(plain::lines(&between(Some(&before), &now)).as_bytes())?;
        to.flush()?;
        before = now;
    }
    Ok(())
}
