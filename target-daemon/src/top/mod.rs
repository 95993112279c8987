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

/// Runs until the user quits, or until the requested number of lines is printed.
///
/// # Errors
///
/// See [`CallError`].
pub fn run(options: &Top) -> Result<(), CallError> {
    let client = Client::new(&options.control);
    let mut sample = || {
        let now: Snapshot = client.get("/v1/samples")?;
        // Of another version, with other names for everything.
        if now.uptime_ns == 0 { Err(client.odd("it has no uptime-ns")) } else { Ok(now) }
    };
    let interval = Duration::from_secs_f64(options.interval);
    if let Some(count) = options.lines() {
        return batch(&mut sample, interval, count, &mut io::stdout().lock());
    }
    if !io::stdout().is_terminal() {
        let text = "standard output is not a terminal: use --once, or --batch N, for lines that another program can read";
        return Err(CallError::new(2, text));
    }
    screen::run(&mut sample, interval)
}

/// Prints the rates of `count` intervals.
fn batch(
    mut sample: impl FnMut() -> Result<Snapshot, CallError>,
    interval: Duration,
    count: u64,
    to: &mut impl Write,
) -> Result<(), CallError> {
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
