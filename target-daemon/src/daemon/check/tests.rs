//! What `check` says of settings, on a made-up machine.

use super::*;
use crate::config::{AutoOff, XdpMode};
use crate::golden;
use crate::tune::tests::{Bench, cores};

fn lines(bench: &Bench, demands: &Demands) -> Vec<Line> {
    let all = [Scope::Machine, Scope::Interface].map(|scope| tune::plan(demands, &bench.machine(), scope));
    all.concat().iter().filter_map(of_setting).collect()
}

#[test]
fn what_this_machine_does_not_have_has_no_line() {
    assert_eq!(lines(&Bench::empty(), &Demands::default()), []);
}

#[test]
fn huge_pages_that_are_configured_have_to_be_there() {
    let bench = Bench::new();
    for (pages, is_fix) in [("32", true), ("33", false)] {
        bench.put("proc/sys/vm/nr_hugepages", pages);
        let lines = lines(&bench, &Demands { huge_pages: Some(33), ..Demands::default() });
        assert_eq!(lines.iter().any(|line| matches!(line, Line::Fix(_))), is_fix, "{lines:?}");
    }
}

#[test]
fn demands_follow_from_the_configuration() {
    let bench = Bench::new();
    bench.put("proc/meminfo", "MemTotal: 1 kB\nHugepagesize:       2048 kB");
    let lo = Facts { queues: 1, ..Facts::read("lo").unwrap() };
    let mut serve = Serve { cores: vec![2, 3], idle: Idle::Spin, ..Serve::default() };
    let found = demands(&serve, &[&lo], &bench.machine());
    assert_eq!(
        (found.cores.to_string().as_str(), found.spin, found.busy_poll, found.ring),
        ("2-3", true, false, 512)
    );
    assert_eq!(found.huge_pages, None);
    serve.rings.huge_pages = true;
    serve.rings.busy_poll = Some(20);
    serve.initiators = 100;
    let found = demands(&serve, &[&lo], &bench.machine());
    let bytes = plan::umem_bytes(&serve, &lo, 2).unwrap();
    assert_eq!(found.huge_pages, Some(bytes.div_ceil(2 << 20)));
    let pages = found.huge_pages.unwrap();
    let command =
        format!("xblade tune --apply -i lo --cores 2-3 --spin --busy-poll --ring 6400 --huge-pages {pages}");
    assert_eq!(remedy(&found, &[&lo]), command);
    assert_eq!(remedy(&Demands::default(), &[]), "xblade tune --apply -i IF");
}

/// `check` and `serve` choose by the same function.
#[test]
fn check_names_the_mode_and_the_reason() {
    let lo = Facts {
        loopback: false,
        name: "eth1".into(),
        driver: "nic".into(),
        queues: 2,
        ..Facts::read("lo").unwrap()
    };
    let facts = |mtu, rx_sg, zero_copy| Facts {
        mtu,
        native: Some(true),
        rx_sg: Some(rx_sg),
        zero_copy: Some(zero_copy > 0),
        zero_copy_segments: zero_copy,
        ..lo.clone()
    };
    let serve = |options: &[&str]| {
        let mut serve = Serve::default();
        for option in options {
            match *option {
                "generic" => serve.xdp_mode = XdpMode::Generic,
                "zero-copy off" => serve.zero_copy = AutoOff::Off,
                _ => serve.multi_fragment = AutoOff::Off,
            }
        }
        serve
    };
    for (options, facts, expected) in [
        (vec![], facts(1500, true, 1), "in native mode, zero-copy"),
        (vec![], facts(1500, true, 0), "in native mode, copy (the driver has no zero-copy)"),
        (vec!["zero-copy off"], facts(1500, true, 1), "in native mode, copy (--zero-copy off)"),
        (
            vec![],
            facts(9000, true, 1),
            "in native mode, copy (the driver's zero-copy is for frames of one chunk, and MTU 9000 needs 3)",
        ),
        (vec![], facts(9000, true, 8), "in native mode, zero-copy"),
        (vec!["multi-fragment off"], facts(9000, true, 1), "in native mode, zero-copy"),
        (
            vec![],
            facts(9000, false, 1),
            "in native mode if the driver takes MTU 9000 (else in generic mode), copy (the driver's zero-copy is for \
             frames of one chunk, and MTU 9000 needs 3)",
        ),
        (
            vec![],
            facts(3000, false, 1),
            "in native mode if the driver takes MTU 3000 (else in generic mode), zero-copy",
        ),
        (vec!["generic"], facts(1500, true, 1), "in generic mode"),
    ] {
        let lines = interface::lines(&serve(&options), &Ok(facts));
        let expected = format!("OK    eth1: driver nic, 2 queue(s), XDP {expected}");
        assert_eq!(lines.first().map(ToString::to_string), Some(expected), "{options:?}");
    }
}

/// Every setting, otherwise and as it should be: after `xblade tune --apply`.
#[test]
fn golden_lines() {
    let mut transcript = golden::Transcript::default();
    let all = Demands { cores: cores("2-3"), huge_pages: Some(64), mtu: Some(9000), ..Demands::default() };
    for (spins, polls) in [(false, false), (true, false), (false, true)] {
        let (bench, demands) = (Bench::new(), Demands { spin: spins, busy_poll: polls, ..all.clone() });
        bench.put("sys/class/net/eth1/device/numa_node", "1");
        bench.put("sys/devices/system/node/node1/cpulist", "0-1");
        let text = |lines: Vec<String>| lines.join("\n");
        let check = || text(lines(&bench, &demands).iter().map(Line::to_string).collect());
        transcript.add(&format!("xblade check, spins: {spins}, polls: {polls}"), &check());
        let tuned = |lines: Vec<tune::Line>| text(lines.iter().map(tune::Line::to_string).collect());
        transcript.add("xblade tune --apply", &tuned(bench.apply(&demands)));
        transcript.add("xblade check", &check());
        transcript.add("xblade tune --revert", &tuned(bench.revert()));
    }
    golden::check("check.txt", &transcript.text);
}
