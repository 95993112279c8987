//! Files that are made to cost much: each is refused, or read, in bounded time and memory.

use std::fmt::Write;
use std::time::{Duration, Instant};

use xblade::config::{self, Loaded};

const TOP: &str = "interfaces = ['eth1']\n";
const EXPORT: &str = "[[export]]\naddress = '0.1'\npath = '/d'\n";

/// Parses it, and limits what that may cost.
#[track_caller]
fn parsed(text: String) -> Loaded {
    assert!(text.len() < 1 << 20, "{} bytes: such a file is not read", text.len());
    let began = Instant::now();
    let loaded = config::parse("f", &text, "");
    let told = loaded.faults.to_string();
    // A second in a release build; others run beside it.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(told.len() < 200_000, "{} bytes", told.len());
    loaded
}

fn many(count: u32, line: impl Fn(u32) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{}", line(number));
        text
    })
}

fn macs(from: u32, count: u32) -> String {
    let one = |n: u32| format!("'52:54:00:{:02x}:{:02x}:{:02x}'", n >> 16, n >> 8 & 255, n & 255);
    (from..from + count).map(one).collect::<Vec<_>>().join(",")
}

#[test]
fn lists_that_each_name_the_next_twice_have_each_host_once() {
    let lists = many(30, |n| format!("a{n} = ['a{}', 'a{}']", n + 1, n + 1));
    let text = format!("{TOP}{EXPORT}allow = ['a0']\n[acl]\n{lists}a30 = ['52:54:00:00:00:01']\n");
    let serve = parsed(text).complete().unwrap();
    assert_eq!(serve.exports[0].allow.as_ref().unwrap().len(), 1);
}

#[test]
fn a_chain_of_lists_has_an_end() {
    let lists = many(20_000, |n| format!("a{n} = ['a{}']", n + 1));
    let told = parsed(format!("{TOP}[acl]\n{lists}a20000 = ['52:54:00:00:00:01']\n")).faults.to_string();
    assert!(told.contains("a32 is the last of more than 32 lists that each name the next"), "{told}");
}

#[test]
fn lists_have_so_many_hosts_and_no_more() {
    for (count, good) in [(4096, true), (4097, false)] {
        let loaded = parsed(format!("{TOP}allow = [{}]\n{EXPORT}", macs(0, count)));
        assert_eq!(loaded.complete().is_ok(), good, "{count}");
    }
    // Together, although each is short enough.
    let exports = many(2, |n| {
        format!("[[export]]\naddress = '0.{n}'\npath = '/{n}'\nallow = [{}]", macs(n * 3000, 3000))
    });
    let told = parsed(format!("{TOP}{exports}")).faults.to_string();
    assert!(told.contains("with this list, 6000 hosts are allowed, and the most is 4096"), "{told}");
    // The same hosts in many lists.
    let lists = many(20_000, |n| format!("a{n} = ['b', 'b']"));
    let told = parsed(format!("{TOP}[acl]\nb = [{}]\n{lists}", macs(0, 4096))).faults.to_string();
    assert!(told.contains("up to here the lists have 1048576 hosts and more"), "{told}");
}

#[test]
fn limits_have_so_many_hosts_and_no_more() {
    let sections = |count: u32, each: u32| {
        many(count, |n| format!("[[host-limit]]\nhosts = [{}]\niops = 9", macs(n * each, each)))
    };
    for (count, each, good) in [(64, 64, true), (1, 4096, true), (65, 1, false), (2, 2049, false)] {
        let loaded = parsed(format!("{TOP}{EXPORT}{}", sections(count, each)));
        let told = loaded.faults.to_string();
        assert_eq!(loaded.complete().is_ok(), good, "{count} with {each}: {told}");
    }
    let told = parsed(format!("{TOP}{EXPORT}{}", sections(2, 2049))).faults.to_string();
    assert!(told.contains("with this list, 4098 hosts have limits, and the most is 4096"), "{told}");
    let exports: Vec<String> = (0..60_000).map(|n| format!("'{}.{}'", n / 255, n % 255)).collect();
    let text = format!(
        "{TOP}{EXPORT}[[host-limit]]\nhosts = [{}]\nexports = [{}]\niops = 9",
        macs(0, 1),
        exports.join(",")
    );
    let told = parsed(text).faults.to_string();
    assert!(told.contains("60000 exports are more than xblade serves, 4096"), "{told}");
    let told = parsed(format!("{TOP}{EXPORT}{}", sections(10_000, 1))).faults.to_string();
    assert!(told.contains("10000 sections [[host-limit]] are more than 64"), "{told}");
}

#[test]
fn of_many_faults_some_are_reported() {
    for line in ["k{} = 1", "k{} = !", "k = 1", "k{} = ["] {
        let lines = many(60_000, |n| line.replace("{}", &n.to_string()));
        let told = parsed(format!("{TOP}{lines}")).faults.to_string();
        let count = told.matches("\n     = ").count();
        assert!((1..=100).contains(&count), "{line}: {count}");
    }
    let told = parsed(format!("{TOP}{}", many(60_000, |n| format!("k{n} = 1")))).faults.to_string();
    assert!(told.ends_with("f: more than 100 faults"), "{}", &told[told.len() - 100..]);
    // Faults of values.
    for many in ["interfaces = [", "allow = [", "interfaces = ['eth1']\n[workers]\ncores = ["] {
        let names: Vec<String> = (0..60_000).map(|n| format!("'n{n}'")).collect();
        let told = parsed(format!("{many}{}]\n{EXPORT}", names.join(","))).faults.to_string();
        assert!(told.matches(" | ").count() < 300, "{many}");
    }
}

#[test]
fn a_process_serves_so_many_exports_and_no_more() {
    for (count, good) in [(4096, true), (4097, false)] {
        let exports =
            many(count, |n| format!("[[export]]\naddress = '{}.{}'\npath = '/{n}'", n / 255, n % 255));
        let loaded = parsed(format!("{TOP}{exports}"));
        let told = loaded.faults.to_string();
        assert_eq!(loaded.complete().is_ok(), good, "{told}");
        assert_eq!(told.contains("4097 exports are more than xblade serves, 4096"), !good, "{told}");
    }
}

#[test]
fn long_lines_are_shown_in_part() {
    for text in ["interfaces = ".to_owned() + &"[".repeat(100_000), "a".to_owned() + &".a".repeat(100_000)] {
        let told = parsed(text).faults.to_string();
        assert!(told.len() < 5_000 && told.contains('^'), "{told}");
    }
}

#[test]
fn a_fault_is_told_on_its_own_lines() {
    for value in [r#""a\n0.1: forged""#, r#""\u001b[2Jx""#, "1\u{2}2"] {
        for key in ["interfaces", "allow", "\"k\\n0.1: forged\""] {
            let told = parsed(format!("{key} = {value}\n{EXPORT}")).faults.to_string();
            let printed = |c: char| c == '\n' || !c.is_control();
            assert!(told.chars().all(printed), "{told:?}");
            assert!(!told.lines().any(|line| line.starts_with("0.1: forged")), "{told}");
        }
    }
}

/// Found by tests/fuzz.
#[test]
fn a_name_stands_for_the_address_of_a_host() {
    let text = format!("{TOP}allow = ['all']\n{EXPORT}");
    let told = config::parse("f", &text, "01:00:5e:00:00:01 all\n").faults.to_string();
    assert!(told.contains("01:00:5e:00:00:01 is not the address of a host"), "{told}");
}
