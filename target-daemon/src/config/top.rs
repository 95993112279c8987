//! The arguments of `xblade top`.

use std::path::PathBuf;

use clap::Args;

use super::service::CONTROL;

/// `xblade top`.
#[derive(Args, Clone, Debug)]
pub struct Top {
    /// The control socket of the running xblade.
    #[arg(long, value_name = "PATH", default_value = CONTROL)]
    pub control: PathBuf,

    /// Seconds between two looks, 0.1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: f64,

    /// Print the rows of one interval, for scripts, and end.
    #[arg(long, conflicts_with = "batch")]
    pub once: bool,

    /// Print the rows of this many intervals, for scripts, and exit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch: Option<u64>,
}

impl Top {
    /// The number of intervals to print; `None` for the interactive display.
    pub fn lines(&self) -> Option<u64> {
        if self.once { Some(1) } else { self.batch }
    }
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| format!("'{text}' is not a number of seconds: take 0.1 to 3600"))
}
