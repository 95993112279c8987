//! What is printed, and what is stored.

use serde_json::{Value, json};

use super::samples::Samples;
use super::warnings;

/// The report, as Markdown.
pub fn markdown(conditions: &[String], results: &[Samples]) -> String {
    let mut out = String::from("Conditions:\n\n");
    out.extend(conditions.iter().map(|line| format!("* {line}\n")));
    for samples in results {
        out += &format!("\n{}\n\n{}", samples.case.name(), samples.table().markdown());
        let suspect = warnings::of_samples(samples);
        if !suspect.is_empty() {
            out += &format!("\n**Suspect**: {}.\n", suspect.join("; "));
        }
    }
    out
}

/// Every sample of every case, as JSON.
pub fn json(conditions: &[String], results: &[Samples]) -> Value {
    let cases: Vec<Value> = results.iter().map(case).collect();
    json!({ "version": env!("CARGO_PKG_VERSION"), "conditions": conditions, "cases": cases })
}

fn case(samples: &Samples) -> Value {
    let case = &samples.case;
    let mut all = Vec::new();
    for (round, of_round) in samples.rounds.iter().enumerate() {
        for (at, sample) in of_round.iter().enumerate() {
            all.push(json!({ "round": round + 1, "target": samples.name(at), "sample": sample }));
        }
    }
    json!({
        "name": case.name(),
        "mtu": case.mtu,
        "op": format!("{:?}", case.op).to_lowercase(),
        "bytes": case.bytes(),
        "window": case.window,
        "durable": case.is_durable(),
        "warnings": warnings::of_samples(samples),
        "samples": all,
    })
}
