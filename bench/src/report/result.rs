//! The result file: outcomes as JSON, to be read again.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::outcome::Outcome;

/// Where the outcomes are, in the file.
const OURS: &str = "xblade-bench";

/// Outcomes as JSON.
pub fn json(outcomes: &[Outcome]) -> Result<Value> {
    let ours = serde_json::to_value(outcomes).context("cannot write the result as JSON")?;
    Ok(json!({ OURS: ours }))
}

/// Reads what [`json`] has made.
pub fn read(text: &str) -> Result<Vec<Outcome>> {
    let mut all: Value = serde_json::from_str(text).context("not JSON")?;
    let ours = all.get_mut(OURS).map(Value::take);
    let ours = ours.with_context(|| format!("not a result of this program: it has no \"{OURS}\""))?;
    serde_json::from_value(ours).context("not a result of this version of the program")
}
