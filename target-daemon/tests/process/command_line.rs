//! Impossible command lines: each is refused with its exit code, in one line that names the
//! problem and the remedy, before anything is attached.

use crate::daemon::{Daemon, Ended, xblade};
use crate::image::Dir;
use crate::space::{OURS, Pair, may_run};

/// Arguments after `serve`, where `%` is a directory with the images `a` and `b`, 64
/// sectors each; the exit code; and parts of the message.
type Row = (&'static str, i32, &'static [&'static str]);

const PLAIN: &str = "0.1=%/a -i xbp0";

const REFUSED: &[Row] = &[
    // Rejected by clap.
    ("", 2, &["required arguments", "<EXPORT>", "--interface"]),
    ("0.1=%/a", 2, &["required arguments", "--interface"]),
    ("4095.0=%/a -i xbp0", 2, &["shelf 4095", "take 0 to 4094"]),
    ("65535.0=%/a -i xbp0", 2, &["shelf 65535", "take 0 to 4094"]),
    ("0.255=%/a -i xbp0", 2, &["slot 255", "take 0 to 254"]),
    ("%/a -i xbp0", 2, &["is not an export", "SHELF.SLOT=PATH"]),
    ("0.1=%/a,rw -i xbp0", 2, &["'rw' is not an option of an export", "ro, offset=N"]),
    ("0.1=%/a,readonly -i xbp0", 2, &["'readonly' is not an option of an export, did you mean `ro`?"]),
    ("e0.1=%/a -i xbp0", 2, &["\"e0.1\" is the name that hosts have for it: write the address as 0.1"]),
    ("0 1 xbp0 %/a", 2, &["`xblade vblade 0 1 xbp0 ", "`xblade serve 0.1=", "/a --interface xbp0`"]),
    ("0.1=%/a --netif xbp0", 2, &["unexpected argument '--netif'", "'--interface'"]),
    ("0.1=%/a xbp0", 2, &["'xbp0' is not an export", "tip: ", "'--interface xbp0'"]),
    ("0.1=%/a, ro -i xbp0", 2, &["tip: an export is one word, without a space: '0.1=", "/a,ro'"]),
    ("0.1 %/a -i xbp0", 2, &["tip: an export is one word, with '=' in it: '0.1=", "/a'"]),
    ("x.toml", 2, &["'x.toml' is not an export", "'--config x.toml'"]),
    ("0.1=%/a -i xbp0 --metrics 9464", 2, &["'9464'", "--metrics", "as 127.0.0.1:9464, or none"]),
    ("0.1=%/a -i xbp0 --metrics here", 2, &["'here'", "as 127.0.0.1:9464, or none"]),
    ("0.1=x,store=null -i xbp0", 2, &["store=null needs a size", "length=1GiB"]),
    ("0.1=%/a,length=1.5G -i xbp0", 2, &["'1.5G' is not a size", "1MiB"]),
    ("0.1=%/a,offset=100B -i xbp0", 2, &["offset=100B", "not a multiple of 512"]),
    ("0.1=%/a,length=0 -i xbp0", 2, &["length=0", "at least one sector"]),
    ("0.1=%/a,length=999999P -i xbp0", 2, &["999999P", "too large"]),
    ("0.1=%/a,pin -i xbp0", 2, &["pin has no meaning", "store=mmap"]),
    ("0.1=%/a,ro,trim=on -i xbp0", 2, &["trim=on has no meaning with ro", "leave it out"]),
    (
        "0.1=%/a,store=mmap,sync=each -i xbp0",
        2,
        &["sync=each has no meaning with store=mmap", "store=direct"],
    ),
    ("0.1=%/a,durability=maybe -i xbp0", 2, &["durability=maybe", "durable or volatile"]),
    ("0.1=%/a -i xbp0 --buffer-count 1", 2, &["'1'", "--buffer-count", "2..=65535"]),
    ("0.1=%/a -i xbp0 --buffer-count 65536", 2, &["65536", "--buffer-count", "2..=65535"]),
    ("0.1=%/a -i xbp0 --initiators 0", 2, &["'0'", "--initiators", "1..=65535"]),
    ("0.1=%/a -i xbp0 --allow 52:54:00", 2, &["52:54:00", "--allow", "MAC address"]),
    ("0.1=%/a -i xbp0 --allow 52:54:00:00:00:zz", 2, &["52:54:00:00:00:zz", "--allow"]),
    ("0.1=%/a -i xbp0 --xdp-mode fast", 2, &["'fast'", "auto, native, generic"]),
    ("0.1=%/a -i xbp0 --cores two", 2, &["'two'", "--cores"]),
    ("0.1=%/a -i xbp0 --busy-poll-budget 8", 2, &["--busy-poll"]),
    ("0.1=%/a --config %/a", 2, &["--config and exports are given", "leave --config out"]),
    ("--config %/a -i xbp0", 2, &["--config and --interface are given"]),
    // Interfaces.
    ("0.1=%/a -i storage*", 3, &["no Ethernet interface fits storage*", "(there are xbp0)"]),
    ("0.1=%/a -i xbpnone", 3, &["`xbpnone` does not exist: there are xbp0"]),
    ("0.1=%/a -i lo", 3, &["lo is the loopback", "the interface that the other hosts are on"]),
    ("0.1=%/a -i xbp0 -i xbp0", 2, &["xbp0 is given twice"]),
    // Sizes and cores.
    ("0.1=%/a -i xbp0 --chunk-bytes 1000", 2, &["--chunk-bytes 1000", "2048 or 4096"]),
    ("0.1=%/a -i xbp0 --rx-ring 100", 2, &["--rx-ring 100", "power of two from 64"]),
    ("0.1=%/a -i xbp0 --tx-ring 131072", 2, &["--tx-ring 131072", "to 65536"]),
    ("0.1=%/a -i xbp0 --umem-chunks 0", 2, &["--umem-chunks 0", "at least"]),
    ("0.1=%/a -i xbp0 --umem-chunks 1", 2, &["--umem-chunks 1", "at least"]),
    ("0.1=%/a -i xbp0 --umem-chunks 4000000000", 2, &["--umem-chunks 4000000000", "4 GiB"]),
    ("0.1=%/a -i xbp0 --cores 0,4711", 3, &["--cores 4711", "no such core", "there are 0"]),
    ("0.1=%/a -i xbp0 --cores 0,0", 2, &["--cores", "0 is given twice"]),
    // Exports.
    ("0.1=%/a 0.1=%/b -i xbp0", 2, &["0.1 is given twice", "its own address"]),
    ("0.1=%/a 0.2=%/a -i xbp0", 2, &["/a: is exported already, at 0.1: ", "do not overlap"]),
    (
        "0.1=%/a 0.2=%/b 0.3=%/link -i xbp0",
        2,
        &["/link: is exported already, at 0.1 (", "/a): give another file"],
    ),
    (
        "0.1=%/a,length=20 0.2=%/a,offset=19,length=20 -i xbp0",
        2,
        &["/a: is exported already, at 0.1: ", "do not overlap"],
    ),
    (
        "0.1=%/a,length=16,store=direct 0.2=%/link,offset=16,length=8,store=file -i xbp0",
        2,
        &["0.2 (", "/link): is reached by store=file, and 0.1 (", "/a) by store=direct", "the same store="],
    ),
    (
        "0.1=%/a,length=9,store=mmap 0.2=%/a,offset=9,length=8,store=direct -i xbp0",
        2,
        &["0.2 (", "/a): is reached by store=direct, and 0.1 (", "a file each"],
    ),
    ("0.1=%/none -i xbp0", 3, &["/none: no such file", "fallocate -l"]),
    ("0.1=/dev/none/data -i xbp0", 3, &["/dev/none/data: no such device", "lsblk", "lvs", "vgchange -ay"]),
    ("0.1=% -i xbp0", 3, &["is a directory", "regular file or a block device"]),
    ("0.1=/dev/null -i xbp0", 3, &["/dev/null: is a character device"]),
    ("0.1=%/empty -i xbp0", 3, &["/empty: is empty: give it a size, for example `fallocate -l 10G /"]),
    ("0.1=%/a,offset=64 -i xbp0", 3, &["/a: has 0 bytes from offset 32768"]),
    ("0.1=%/a,offset=60,length=5 -i xbp0", 3, &["lies beyond its end at 32768 bytes"]),
    ("0.1=%/a,offset=281474976710656 -i xbp0", 3, &["/a: has 0 bytes from offset"]),
];

#[test]
fn what_cannot_work_is_refused_in_one_line() {
    if !may_run("what_cannot_work_is_refused_in_one_line") {
        return;
    }
    let (pair, dir) = (Pair::new(), Dir::new());
    for name in ["a", "b"] {
        dir.image(name, 64);
    }
    dir.image("empty", 0);
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    for (arguments, code, parts) in REFUSED {
        let arguments = arguments.replace('%', &dir.path().display().to_string());
        let ended = Daemon::spawn(&pair.ours, xblade(&format!("serve {arguments}"))).ended();
        assert_refused(&arguments, &ended, *code, parts);
    }
    pair.ours.until_detached(OURS);
    // The error is in each row, not in the setup.
    let arguments = PLAIN.replace('%', &dir.path().display().to_string());
    Daemon::serve(&pair.ours, &arguments).stop();
}

#[test]
fn an_interface_that_carries_no_sector_is_refused() {
    if !may_run("an_interface_that_carries_no_sector_is_refused") {
        return;
    }
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    pair.mtu(533);
    let refused = Daemon::spawn(&pair.ours, xblade(&format!("serve 0.1={image} -i {OURS}"))).ended();
    assert_refused("MTU 533", &refused, 3, &["xbp0: an MTU of 533 has no room", "at least 534"]);
    pair.mtu(534);
    Daemon::serve(&pair.ours, &format!("0.1={image} -i {OURS}")).stop();
}

#[test]
fn help_names_options_signals_and_exit_codes() {
    for (arguments, parts) in [
        ("--help", &["serve", "check", "show", "import", "vblade"][..]),
        ("check --help", &["--config", "Exit codes"]),
        (
            "serve --help",
            &[
                "--interface",
                "SIGUSR1",
                "SIGHUP",
                "trim=on|off",
                "sync=each|group",
                "pin",
                "huge",
                "Exit codes",
                "vblade 0 1 eth1",
            ],
        ),
    ] {
        let output = xblade(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

/// One line, `error: ` and the problem, at the end; the lines before it report what was
/// found. Clap appends a pointer to the help.
pub fn assert_refused(what: &str, ended: &Ended, code: i32, parts: &[&str]) {
    let Ended { status, text } = ended;
    assert_eq!(status.code(), Some(code), "{what}: {text}");
    assert!(!text.contains("panicked"), "{what}: {text}");
    assert!(!text.contains("ERROR"), "{what}: {text}");
    let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{what}: {text}");
    let said: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    assert!(said.len() == 1 || text.starts_with("error: "), "{what}: {text}");
    let said = said.join(" ");
    for part in parts {
        assert!(said.contains(part), "{what}: {part:?} is not in: {said}");
    }
}
