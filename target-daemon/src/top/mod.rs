//! `xblade top`: live rates of a running daemon.
//!
//! ```text
//! the socket ─ Snapshot ─► rates.rs ─ Rates ─► screen.rs, view.rs (a terminal)
//!                       two snapshots    └──► plain.rs (lines for scripts)
//! ```

mod plain;
mod rates;
mod screen;
mod view;

pub use rates::{Rates, Row, between};
pub use view::View;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::config::Top;
use crate::control::{CallError, Client, Snapshot};

/// Why `xblade top` failed.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The daemon cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] CallError),
    /// Standard output is not a terminal.
    #[error(
        "standard output is not a terminal: use --once, or --batch N, for lines that another program can read"
    )]
    NoTerminal,
    /// The terminal or the pipe failed.
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

/// Runs until the user quits, or until the requested number of lines is printed.
///
/// # Errors
///
/// See [`TopError`].
pub fn run(options: &Top) -> Result<(), TopError> {
    let mut sample = || {
        let now: Snapshot = Client::new(&options.control).get("/v1/samples")?;
        match now.uptime_ns {
            // Of another version, with other names for everything.
            0 => {
                Err(CallError::Odd { path: options.control.clone(), what: "it has no uptime-ns".to_owned() })
            }
            _ => Ok(now),
        }
    };
    let interval = Duration::from_secs_f64(options.interval);
    if let Some(count) = options.lines() {
        return batch(&mut sample, interval, count, &mut io::stdout().lock());
    }
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    screen::run(&mut sample, interval)
}

/// Prints the rates of `count` intervals.
fn batch(
    mut sample: impl FnMut() -> Result<Snapshot, CallError>,
    interval: Duration,
    count: u64,
    to: &mut impl Write,
) -> Result<(), TopError> {
    let mut before = sample()?;
    for n in 0..count {
        std::thread::sleep(interval);
        let now = sample()?;
        if n > 0 {
            writeln!(to)?;
        }
        to.write_all(plain::lines(&between(Some(&before), &now)).as_bytes())?;
        to.flush()?;
        before = now;
    }
    Ok(())
}
