//! The output of `show` is equivalent to the configuration shown.

use proptest::prelude::*;
use xblade::config::{
    self, AutoOff, Export, ExportLimits, HostLimit, HostSettings, Idle, Limit, RingOptions, Serve,
    ServiceOptions, Spread, XdpMode,
};
use xblade::store::StoreSpec;
use xblade::wire::aoe::Address;
use xblade::wire::ether::Mac;
use xblade::wire::vlan::{VLAN_MAX, Vlans};

const SECTOR: u64 = 512;

fn hosts() -> impl Strategy<Value = Vec<Mac>> {
    prop::collection::vec(any::<[u8; 5]>().prop_map(|[a, b, c, d, e]| Mac([2, a, b, c, d, e])), 0..4)
}

/// Typical sizes, and arbitrary ones.
fn bytes() -> impl Strategy<Value = u64> {
    prop_oneof![
        (1u64..1 << 40).prop_map(|n| n * SECTOR),
        (0u32..38, 1u64..100).prop_map(|(bits, n)| (n << bits) * SECTOR)
    ]
}

fn path(n: usize) -> impl Strategy<Value = String> {
    // Quotes, backslashes, newlines and other odd characters.
    "[^\u{0}]{0,12}".prop_map(move |odd| format!("/{n}/{odd}"))
}

/// Options of the command line that go together: of a store on a file, or of one without.
fn options() -> impl Strategy<Value = String> {
    let what = (prop_oneof![Just(0), bytes()], prop::option::of(bytes()), any::<[bool; 3]>());
    let how = (0..4usize, 0..3usize, prop::option::of(any::<bool>()));
    let file = (what, how).prop_map(|((offset, length, [read_only, pin, huge]), (store, sync, trim))| {
        let volatile = pin != huge;
        // Only valid combinations.
        let syncs = !read_only && !volatile && store < 2;
        let rows = [
            read_only.then(|| ",ro".to_owned()),
            Some(format!(",offset={}", offset / SECTOR)),
            length.map(|length| format!(",length={}", length / SECTOR)),
            Some(format!(",store={}", ["auto", "direct", "file", "mmap"][store])),
            Some(format!(",durability={}", if volatile { "volatile" } else { "durable" })),
            syncs.then(|| format!(",sync={}", ["auto", "each", "group"][sync])),
            trim.filter(|_| !read_only).map(|on| format!(",trim={}", if on { "on" } else { "off" })),
            (pin && store == 3).then(|| ",pin".to_owned()),
            (huge && store == 3).then(|| ",huge".to_owned()),
        ];
        rows.into_iter().flatten().collect()
    });
    let none = (bytes(), any::<bool>()).prop_map(|(bytes, ram)| {
        format!(",store={},length={}", if ram { "ram" } else { "null" }, bytes / SECTOR)
    });
    prop_oneof![4 => file, 1 => none]
}

const HOST_SETTINGS: [HostSettings; 3] = [HostSettings::Allow, HostSettings::Volatile, HostSettings::Refuse];

fn limit() -> impl Strategy<Value = Limit> {
    let bytes_per_second =
        prop_oneof![512u64..=1 << 40, (0u32..31, 512u64..1000).prop_map(|(bits, n)| n << bits)];
    (prop::option::of(1..=100_000_000u32), prop::option::of(bytes_per_second))
        .prop_map(|(iops, bytes_per_second)| Limit { iops, bytes_per_second })
}

fn limits() -> impl Strategy<Value = ExportLimits> {
    (limit(), limit(), 1..=60_000u32).prop_map(|(all_hosts, each_host, burst_ms)| {
        let limits = ExportLimits { all_hosts, each_host, ..ExportLimits::default() };
        if limits.is_none() { limits } else { ExportLimits { burst_ms, ..limits } }
    })
}

fn host_limit() -> impl Strategy<Value = HostLimit> {
    let address = (0..4u16, 0..200u8).prop_map(|(shelf, slot)| Address { shelf, slot });
    let exports = prop::collection::btree_set(address, 0..3).prop_map(|all| all.into_iter().collect());
    let hosts = prop::collection::btree_set(any::<[u8; 5]>(), 1..4);
    let limit = limit().prop_filter("limits something", |limit| !limit.is_none());
    (hosts, exports, limit, 1..=60_000u32).prop_map(|(hosts, exports, limit, burst_ms)| HostLimit {
        hosts: hosts.into_iter().map(|[a, b, c, d, e]| Mac([2, a, b, c, d, e])).collect(),
        exports,
        limit,
        burst_ms,
    })
}

fn export(n: usize) -> impl Strategy<Value = Export> {
    let vlans = prop_oneof![
        Just(Vlans::Untagged),
        Just(Vlans::Any),
        prop::collection::vec(0..=VLAN_MAX, 1..4).prop_map(Vlans::listed)
    ];
    let interfaces = prop::collection::btree_set("[a-z][a-z0-9.-]{0,13}[*?]?", 0..3);
    let rest = (vlans, interfaces, prop::option::of(0u16..1024), 0..3usize, any::<bool>(), limits());
    (path(n), options(), hosts(), rest).prop_map(
        move |(path, options, allow, (vlans, interfaces, worker, settings, force, limits))| {
            let address = Address { shelf: n as u16 * 300, slot: n as u8 };
            let parsed: Export = format!("{address}=/x{options}").parse().unwrap();
            let store = StoreSpec::new(path, parsed.store.options().clone());
            let interfaces = interfaces.into_iter().collect();
            let host_settings = Some(HOST_SETTINGS[settings]);
            let allow = Some(allow);
            Export { address, store, allow, vlans, interfaces, limits, worker, host_settings, force }
        },
    )
}

fn rings() -> impl Strategy<Value = RingOptions> {
    let ring = prop::option::of((6u32..=16).prop_map(|bits| 1 << bits));
    (ring, any::<bool>(), prop::option::of(any::<u32>()), any::<u32>()).prop_map(
        |(rx_ring, huge_pages, busy_poll, budget)| {
            let busy_poll_budget = if busy_poll.is_some() { budget } else { 64 };
            RingOptions { rx_ring, huge_pages, busy_poll, busy_poll_budget }
        },
    )
}

fn serve() -> impl Strategy<Value = Serve> {
    let exports = (1..6usize).prop_flat_map(|count| (0..count).map(export).collect::<Vec<_>>());
    let names = prop::collection::btree_set("[a-z][a-z0-9.-]{0,13}[*?]?", 1..4);
    let cores = prop::collection::btree_set(0..u32::MAX as usize, 0..4);
    let words = (0..3usize, 0..3usize, 0..3usize, any::<[bool; 4]>());
    let numbers = (2..=u16::MAX, 1..=u16::MAX, any::<u32>());
    let host_limits = prop::collection::vec(host_limit(), 0..3);
    (exports, names, hosts(), cores, words, rings(), numbers, host_limits).prop_map(
        |(
            exports,
            names,
            allow,
            cores,
            (mode, spread, settings, [copy, fragment, spin, no_probe]),
            rings,
            numbers,
            host_limits,
        )| {
            Serve {
                exports,
                interfaces: names.into_iter().collect(),
                buffer_count: numbers.0,
                initiators: numbers.1,
                allow,
                host_limits,
                xdp_mode: [XdpMode::Auto, XdpMode::Native, XdpMode::Generic][mode],
                zero_copy: if copy { AutoOff::Auto } else { AutoOff::Off },
                multi_fragment: if fragment { AutoOff::Auto } else { AutoOff::Off },
                cores: cores.into_iter().rev().collect(),
                idle: if spin { Idle::Spin } else { Idle::Adaptive },
                spread: [Spread::Auto, Spread::All, Spread::Off][spread],
                rings,
                host_settings: HOST_SETTINGS[settings],
                measure_every: numbers.2,
                no_probe,
                service: ServiceOptions::default(),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_shown_means_what_was_shown(serve in serve()) {
        let text = config::to_toml(&serve).unwrap();
        match config::parse("shown", &text, "").complete() {
            Ok(read) => prop_assert_eq!(read, serve, "{}", text),
            Err(faults) => prop_assert!(false, "{}\n{}", text, faults),
        }
    }

    /// Any text is either read or refused with a message, without a panic.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let told = config::parse("any", &text, "").complete();
        prop_assert!(told.is_err(), "without an interface and an export");
    }

    /// Valid files with a piece removed or duplicated.
    #[test]
    fn a_file_with_a_mistake_is_read_or_refused(serve in serve(), cut in any::<(prop::sample::Index, u8)>(), doubles in any::<bool>()) {
        let text = config::to_toml(&serve).unwrap();
        let chars: Vec<char> = text.chars().collect();
        let from = cut.0.index(chars.len());
        let to = (from + usize::from(cut.1)).min(chars.len());
        let rest = if doubles { from } else { to };
        let text: String = chars[..to - if doubles { 0 } else { to - from }].iter().chain(&chars[rest..]).collect();
        if let Err(faults) = config::parse("cut", &text, "").complete() {
            let told = faults.to_string();
            prop_assert!(["fault", "faults", "corrected"].iter().any(|end| told.ends_with(end)), "{}", told);
            prop_assert!(told.contains('^'), "a refusal without a place: {}", told);
        }
    }
}

#[test]
fn json_has_the_same_keys() {
    let text = "interfaces = ['eth1']\n[[export]]\naddress = '0.1'\npath = '/d'\n";
    let serve = config::parse("f", text, "").complete().unwrap();
    let json: serde_json::Value = serde_json::from_str(&config::to_json(&serve).unwrap()).unwrap();
    assert_eq!(json["export"][0]["address"], "0.1");
    assert_eq!(json["export"][0]["length"], "auto");
    assert_eq!(json["limits"]["buffer-count"], 64);
    assert_eq!(json["allow"], "everybody");
    assert_eq!(json["export"][0]["allow"], "everybody");
}
