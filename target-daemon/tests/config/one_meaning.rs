//! The command line and the file are equivalent: each option, given either way, yields
//! the same configuration.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::CommandFactory;
use xblade::config::{self, Cli, Command, KEYS, Serve};

/// An export, on the command line and in the file.
const LINE: &str = "0.1=/d -i eth1";
const FILE: &str = "interfaces = ['eth1']\n[[export]]\naddress = '0.1'\npath = '/d'\n";

/// What is added to each. Keys of the file without a section go to its top.
const ROWS: &[(&str, &str)] = &[
    ("", ""),
    ("-i eth2 -i storage*", "interfaces = ['eth1', 'eth2', 'storage*']"),
    ("--allow 52:54:00:00:00:01,52:54:00:00:00:02", "allow = ['52:54:00:00:00:01', '52:54:00:00:00:02']"),
    (
        "--allow 52:54:00:00:00:01,52:54:00:00:00:07",
        "allow = ['hosts']\n[acl]\nhosts = ['52:54:00:00:00:01', 'backup']",
    ),
    ("--host-settings allow", "host-settings = 'allow'"),
    ("--host-settings volatile", "host-settings = 'volatile'"),
    ("--host-settings refuse", ""),
    ("--measure-every 0", "measure-every = 0"),
    ("--measure-every 60", "measure-every = 60"),
    ("--no-probe", "probe = false"),
    ("", "probe = true"),
    ("--cores 2,3", "[workers]\ncores = [2, 3]"),
    ("", "[workers]\ncores = []"),
    ("--idle spin", "[workers]\nidle = 'spin'"),
    ("--idle adaptive", "[workers]\nidle = 'adaptive'"),
    ("--spread all", "[workers]\nspread = 'all'"),
    ("--spread off", "[workers]\nspread = 'off'"),
    ("--spread auto", "[workers]\nspread = 'auto'"),
    ("--xdp-mode native", "[xdp]\nmode = 'native'"),
    ("--xdp-mode generic", "[xdp]\nmode = 'generic'"),
    ("--xdp-mode auto", "[xdp]\nmode = 'auto'"),
    ("--zero-copy off", "[xdp]\nzero-copy = 'off'"),
    ("--zero-copy auto", "[xdp]\nzero-copy = 'auto'"),
    ("--multi-fragment off", "[xdp]\nmulti-fragment = 'off'"),
    ("--multi-fragment auto", "[xdp]\nmulti-fragment = 'auto'"),
    ("--rx-ring 128", "[rings]\nrx-ring = 128"),
    ("--rx-ring 4096", "[rings]\nrx-ring = 4_096"),
    ("--rx-ring 256", "[rings]\nrx-ring = 0x100"),
    ("", "[rings]\nrx-ring = 'auto'\nbusy-poll = 'off'"),
    ("--huge-pages", "[rings]\nhuge-pages = true"),
    ("--busy-poll 20", "[rings]\nbusy-poll = 20"),
    ("--busy-poll 20 --busy-poll-budget 16", "[rings]\nbusy-poll-budget = 16\nbusy-poll = 20"),
    ("--buffer-count 2", "[limits]\nbuffer-count = 2"),
    ("--initiators 65535", "[limits]\ninitiators = 65535"),
    ("--control /run/x --control-group disk", "[service]\ncontrol = '/run/x'\ncontrol-group = 'disk'"),
    ("--control none --state none", "[service]\ncontrol = 'none'\nstate = 'none'\nmetrics = 'none'"),
    (
        "--metrics 127.0.0.1:9464 --state /var/lib/x",
        "[service]\nmetrics = '127.0.0.1:9464'\nstate = '/var/lib/x'",
    ),
    ("--metrics-name a.example --metrics-name b", "[service]\nmetrics-names = ['a.example', 'b']"),
    ("--sandbox off", "[service]\nsandbox = 'off'"),
    ("--admin-group disk --user daemon", "[service]\nadmin-group = 'disk'\nuser = 'daemon'"),
    ("--folder /srv --folder /dev/vg", "[service]\nsandbox = 'on'\nfolders = ['/srv', '/dev/vg']"),
];

/// Options of an export with their commas, and the corresponding keys.
const EXPORT_ROWS: &[(&str, &str)] = &[
    (",ro", "read-only = true"),
    ("", "read-only = false"),
    (",offset=2048", "offset = 2048"),
    (",offset=1MiB", "offset = '1MiB'"),
    (",length=10G", "length = '10G'"),
    (",length=auto", "length = 'auto'"),
    (",store=auto", "store = 'auto'"),
    (",store=direct", "store = 'direct'"),
    (",store=file", "store = 'file'"),
    (",store=mmap", "store = 'mmap'"),
    (",durability=durable", "durability = 'durable'"),
    (",durability=volatile", "durability = 'volatile'"),
    (",worker=3", "worker = 3"),
    (",force", "force = true"),
    ("", "force = false"),
    (",worker=auto", "worker = 'auto'"),
    (",sync=auto", "sync = 'auto'"),
    (",sync=each", "sync = 'each'"),
    (",sync=group", "sync = 'group'"),
    (",trim=auto", "trim = 'auto'"),
    (",trim=on", "trim = 'on'"),
    (",trim=off", "trim = 'off'"),
    (",store=mmap,pin", "store = 'mmap'\npin = true"),
    (",store=mmap,huge", "store = 'mmap'\nhuge = true"),
    ("", "pin = false\nhuge = false"),
    (",allow=52:54:00:00:00:01,allow=52:54:00:00:00:07", "allow = ['52:54:00:00:00:01', 'backup']"),
    (",host-settings=allow", "host-settings = 'allow'"),
    (",host-settings=volatile", "host-settings = 'volatile'"),
    (",host-settings=refuse", ""),
    (",allow=everybody", "allow = 'everybody'"),
    (",vlan=untagged", "vlan = 'untagged'"),
    (",vlan=any", "vlan = 'any'"),
    (",vlan=20", "vlan = 20"),
    (",vlan=4094,vlan=untagged", "vlan = ['untagged', 4094]"),
    (",interface=eth1,interface=stor*", "interfaces = ['eth1', 'stor*']"),
    (",iops=2000", "iops = 2000"),
    (",bytes-per-second=200M,burst=50", "bytes-per-second = '200MiB'\nburst = 50"),
    (",host-iops=1,host-bytes-per-second=50MB", "host-bytes-per-second = '50000000B'\nhost-iops = 1"),
    (",iops=none,bytes-per-second=none", "host-iops = 'none'\nhost-bytes-per-second = 'none'"),
];

fn by_line(arguments: &str) -> Serve {
    let words = format!("xblade serve {arguments}");
    match Cli::read(words.split_whitespace().map(OsString::from)).unwrap().command {
        Command::Serve(args) => args.serve.settled(),
        other => panic!("{other:?}"),
    }
}

fn by_file(text: &str) -> Serve {
    let loaded = config::parse("f", text, "52:54:00:00:00:07 backup");
    loaded.complete().unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

#[test]
fn each_option_means_the_same_in_the_file() {
    for (line, file) in ROWS {
        let file = match file {
            // Of the base, only the interfaces are replaced.
            file if file.starts_with("interfaces") => FILE.replace("interfaces = ['eth1']", file),
            file if file.starts_with('[') => format!("{FILE}{file}"),
            // Top-level keys go first; a section behind them goes last.
            file => match file.split_once("\n[") {
                Some((top, section)) => format!("{top}\n{FILE}[{section}"),
                None => format!("{file}\n{FILE}"),
            },
        };
        assert_eq!(by_line(&format!("{LINE} {line}")), by_file(&file), "{line}\n{file}");
    }
    for (options, keys) in EXPORT_ROWS {
        assert_eq!(
            by_line(&format!("0.1=/d{options} -i eth1")),
            by_file(&format!("{FILE}{keys}\n")),
            "{keys}"
        );
    }
    let null = "interfaces = ['eth1']\n[[export]]\naddress = '0.1'\nstore = 'null'\nlength = '1GiB'";
    assert_eq!(by_line("0.1=x,store=null,length=1GiB -i eth1"), by_file(null));
    assert_eq!(by_line("0.1=x,store=ram,length=1GiB -i eth1"), by_file(&null.replace("null", "ram")));
}

/// The rows contain every option of the command line, and every key of the file.
#[test]
fn the_rows_have_every_option_and_every_key() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let lines: String = ROWS.iter().map(|(line, _)| format!("{line} ")).collect();
    for option in serve.get_arguments().filter_map(clap::Arg::get_long) {
        let known = lines.contains(&format!("--{option}"));
        assert!(known || matches!(option, "interface" | "config" | "help"), "--{option} has no row");
    }
    let keys: BTreeSet<&str> = ROWS
        .iter()
        .chain(EXPORT_ROWS)
        .flat_map(|(_, file)| file.lines())
        .map(|line| line.split('=').next().unwrap().trim().trim_matches(['[', ']']))
        .collect();
    for key in KEYS.iter().flat_map(|(_, keys)| keys) {
        assert!(
            keys.contains(key)
                || matches!(*key, "export" | "address" | "path" | "host-limit" | "hosts" | "exports"),
            "{key} has no row"
        );
    }
}

/// A value that one of them refuses is also refused by the other.
#[test]
fn what_an_export_may_not_say_it_may_not_say_in_either() {
    for (options, keys) in [
        (",ro,trim=on", "read-only = true\ntrim = 'on'"),
        (",ro,sync=each", "read-only = true\nsync = 'each'"),
        (",store=mmap,sync=each", "store = 'mmap'\nsync = 'each'"),
        (",store=file,huge", "store = 'file'\nhuge = true"),
        (",pin", "pin = true"),
        (",durability=volatile,sync=group", "durability = 'volatile'\nsync = 'group'"),
        (",length=0", "length = 0"),
        (",offset=100B", "offset = '100B'"),
        (",allow=nobody", "allow = ['nobody']"),
        (",iops=0", "iops = 0"),
        (",burst=50", "burst = 50"),
        (",bytes-per-second=1000", "bytes-per-second = 1000"),
    ] {
        let words = format!("xblade serve 0.1=/d{options} -i eth1");
        assert!(Cli::read(words.split_whitespace().map(OsString::from)).is_err(), "{options}");
        assert!(config::parse("f", &format!("{FILE}{keys}\n"), "").complete().is_err(), "{keys}");
    }
}

#[test]
fn a_file_beside_options_is_refused_in_one_message() {
    for arguments in
        ["0.1=/d --config f", "--config f -i eth1", "--config f --no-probe", "--config f --busy-poll 20"]
    {
        let words = format!("xblade serve {arguments}");
        let error = Cli::read(words.split_whitespace().map(OsString::from)).unwrap_err().to_string();
        assert!(error.contains("'--config <FILE>' cannot be used with one or more of the other"), "{error}");
    }
    assert!(Cli::read(["xblade", "serve", "--config", "f"].map(OsString::from)).is_ok());
}
