//! What is printed and recorded, word by word.

use std::fs;

use super::*;
use crate::golden::{Transcript, check};

#[test]
fn golden_steer() {
    let theirs = FlowRule { location: 5, matches: aoe(), queue: Some(3) };
    let mut transcript = Transcript::default();
    for (driver, name) in [
        (Fake::any(), "a driver that takes any rule"),
        (Fake::any().switched_off().with(&[ip_flow(15)]), "one that is switched off"),
        (Fake::by_type(), "one by EtherType"),
        (Fake::by_mac(), "one by MAC address"),
        (Fake::by_one_field(), "one by one field"),
        (Fake::of_one_kind(), "one with rules of one kind"),
        (Fake::any().that_chooses(), "one that chooses the place"),
        (Fake::refuses(), "one that refuses"),
        (Fake::any().places(1).with(&[ip_flow(0)]), "one that is full"),
        (Fake::any().with(&[theirs]), "one with a rule of somebody else"),
    ] {
        for (request, what) in [(to_queue(2), "one queue"), (spread(), "hosts over queues")] {
            let mut bench = Bench::new(driver.clone());
            transcript.replace(bench.directory.display(), "<dir>");
            let text = |result: Result<String, SteerError>| match result {
                Ok(text) => text,
                Err(fault) => format!("exit code {}: {fault}", fault.exit_code()),
            };
            let mut said = vec![text(bench.plan(&request)), text(bench.apply(&request))];
            if name.contains("any rule") {
                said.extend(fs::read_to_string(bench.directory.join("steer-nic0.json")));
                said.extend([text(bench.plan(&request)), text(bench.plan(&to_queue(1)))]);
            }
            said.push(text(bench.revert()));
            transcript.add(&format!("{name}, {what}"), &said.join("\n--\n"));
        }
    }
    let mut bench = Bench::new(Fake::any());
    let one = SteerRequest { queue_count: 1, ..to_queue(0) };
    transcript.add("one queue in all", &bench.apply(&one).unwrap());
    transcript.add("nothing was done", &bench.revert().unwrap());
    check("steer.txt", &transcript.text);
}
