//! Outputs of a comparison: the terminal, the report, and requested files.

use std::path::PathBuf;

use anyhow::Result;

use crate::args::CompareArgs;
use crate::report::{self, Document};

use super::shell;

/// Prints the result and writes the report.
pub fn write(args: &CompareArgs, profile: &str, document: &Document) -> Result<()> {
    print!("{}", report::markdown(document));
    let directory = args.report.clone().unwrap_or_else(|| usual(profile));
    report::write_all(document, &directory)?;
    let html = directory.join("report.html");
    println!("\nreport: {}", std::fs::canonicalize(&html).unwrap_or(html).display());
    Ok(())
}

/// A new directory, named after the profile and the time.
fn usual(profile: &str) -> PathBuf {
    let time = shell::run(&["date", "+%Y%m%d-%H%M%S"]).unwrap_or_default();
    PathBuf::from(format!("xblade-report-{profile}-{}", time.trim()))
}
