//! Steering with simulated drivers.
mod fake;
mod outcomes;
mod said;
mod trouble;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::SteerError;
use super::record::Record;
use super::rule_set::SteerRequest;
use super::{fulfil, revert};
use crate::config::Mode;
use crate::link::{FlowMatch, FlowRule};
use crate::tune::Journal;
use fake::Fake;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
const HOSTS: [[u8; 6]; 3] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 3]];

fn ether(
    destination: Option<[u8; 6]>,
    source: Option<[u8; 6]>,
    ether_type: Option<u16>,
) -> Option<FlowMatch> {
    Some(FlowMatch { destination, source, ether_type })
}

fn aoe() -> Option<FlowMatch> {
    ether(None, None, Some(0x88a2))
}

/// A foreign rule that is unrelated to AoE.
fn ip_flow(location: u32) -> FlowRule {
    FlowRule { location, matches: None, queue: Some(1) }
}

/// A driver, and a directory for its journal.
struct Bench {
    driver: Fake,
    directory: PathBuf,
}

impl Bench {
    fn new(driver: Fake) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("xblade-steer-{}-{number}", std::process::id()));
        Self { driver, directory }
    }

    fn journal(&self) -> Journal {
        Journal::within(&self.directory, "steer", "nic0")
    }

    fn plan(&mut self, request: &SteerRequest) -> Result<String, SteerError> {
        let journal = self.journal();
        Ok(fulfil(Mode::Plan, &mut self.driver, &journal, request)?.join("\n"))
    }

    fn apply(&mut self, request: &SteerRequest) -> Result<String, SteerError> {
        let journal = self.journal();
        Ok(fulfil(Mode::Apply, &mut self.driver, &journal, request)?.join("\n"))
    }

    fn revert(&mut self) -> Result<String, SteerError> {
        let journal = self.journal();
        Ok(revert::revert(&mut self.driver, &journal, "nic0")?.join("\n"))
    }

    fn record(&self) -> Record {
        self.journal().load().unwrap()
    }

    fn has_record(&self) -> bool {
        self.directory.join("steer-nic0.json").exists()
    }

    /// The targets of frames, in table order.
    fn table(&self) -> Vec<(Option<FlowMatch>, Option<u32>)> {
        let mut rules = self.driver.rules.clone();
        rules.sort_by_key(|rule| rule.location);
        rules.into_iter().map(|rule| (rule.matches, rule.queue)).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn to_queue(queue: u32) -> SteerRequest {
    SteerRequest {
        interface: "nic0".into(),
        driver: "fake".into(),
        mac: MAC,
        queue_count: 4,
        queues: vec![queue],
        hosts: Vec::new(),
    }
}

fn spread() -> SteerRequest {
    SteerRequest { queues: vec![2, 3], hosts: HOSTS.to_vec(), ..to_queue(2) }
}
