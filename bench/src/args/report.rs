//! Arguments of `report`.

use std::path::PathBuf;

/// Arguments of `report`.
#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// Result files, as `load --json` and `--report` (its result.json) write them.
    #[arg(required = true, value_name = "RESULT.json")]
    pub results: Vec<PathBuf>,
    /// Write the report with all its files to this directory, which must be new, empty, or hold an earlier report.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}
