//! Parsing exports from the command line.
use super::*;
use crate::store::{Access, Durability, OpenOptions, Sync};

fn parse(text: &str) -> Result<Export, Problem> {
    text.parse()
}

#[test]
fn an_address_that_no_host_has_is_refused() {
    for mac in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"] {
        let refused = format!("0.1=/d,allow={mac}").parse::<Export>().unwrap_err().to_string();
        assert!(refused.contains(&format!("{mac} is not the address of a host")), "{refused}");
        assert!(super::host(mac).is_err(), "{mac} after --allow");
    }
}

#[test]
fn the_plain_form_is_durable_and_whole() {
    let export = parse("7.14=/srv/a disk.img").unwrap();
    assert_eq!(export.address.to_string(), "7.14");
    assert_eq!(export.store.file(), Some(OpenOptions::new("/srv/a disk.img")));
}

#[test]
fn every_option() {
    let rows = [
        (
            "ro,offset=2048,length=1GiB,store=mmap,durability=volatile,pin,huge",
            OpenOptions {
                read_only: true,
                offset_bytes: 1 << 20,
                length_bytes: Some(1 << 30),
                durability: Durability::Volatile,
                access: Access::Mapped,
                pin: true,
                huge: true,
                ..OpenOptions::new("/d")
            },
        ),
        (
            "store=direct,sync=each,trim=on",
            OpenOptions {
                access: Access::Direct,
                sync: Sync::Each,
                trim: Some(true),
                ..OpenOptions::new("/d")
            },
        ),
        (
            "sync=group,trim=off,durability=durable",
            OpenOptions { sync: Sync::Group, trim: Some(false), ..OpenOptions::new("/d") },
        ),
        ("store=file", OpenOptions { access: Access::Cached, ..OpenOptions::new("/d") }),
    ];
    for (options, expected) in rows {
        assert_eq!(parse(&format!("0.1=/d,{options}")).unwrap().store.file(), Some(expected), "{options}");
    }
    let automatic = parse("0.1=/d,length=auto,store=auto,sync=auto,trim=auto").unwrap();
    assert_eq!(automatic, parse("0.1=/d").unwrap());
    let null = parse("0.1=none,store=null,length=1G").unwrap();
    assert_eq!((null.store.path(), null.store.options().bytes("length")), (None, Some(1 << 30)));
}

#[test]
fn an_export_has_a_list_of_its_own_or_none() {
    let allow = |text| parse(text).unwrap().allow;
    assert_eq!(allow("0.1=/d"), None);
    assert_eq!(allow("0.1=/d,allow=everybody"), Some(vec![]));
    let two = "0.1=/d,allow=02:00:00:00:00:01,allow=02:00:00:00:00:02";
    assert_eq!(allow(two), Some(vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])]));
}

#[test]
fn an_export_may_name_vlans_and_interfaces() {
    let vlans = |more: &str| parse(&format!("0.1=/d{more}")).unwrap().vlans;
    assert_eq!(vlans(""), Vlans::Untagged);
    assert_eq!(vlans(",vlan=untagged"), Vlans::Untagged);
    assert_eq!(vlans(",vlan=any"), Vlans::Any);
    assert_eq!(vlans(",vlan=20"), Vlans::listed([20]));
    assert_eq!(vlans(",vlan=4094,vlan=untagged,vlan=1"), Vlans::listed([0, 1, 4094]));
    let export = parse("0.1=/d,interface=eth1,interface=stor*").unwrap();
    assert_eq!(export.interfaces, ["eth1", "stor*"]);
    assert_eq!(parse("0.1=/d").unwrap().interfaces, [""; 0]);
}

#[test]
fn an_export_has_limits_or_none() {
    let limits = |more: &str| parse(&format!("0.1=/d{more}")).unwrap().limits;
    assert!(limits(",iops=none,bytes-per-second=none").is_none() && limits("") == ExportLimits::default());
    let all = limits(",iops=2000,bytes-per-second=200M,host-iops=500,host-bytes-per-second=50MB,burst=7");
    assert_eq!((all.all_hosts.iops, all.all_hosts.bytes_per_second), (Some(2000), Some(200 << 20)));
    assert_eq!((all.each_host.iops, all.each_host.bytes_per_second), (Some(500), Some(50_000_000)));
    assert_eq!((all.burst_ms, limits(",host-iops=1").burst_ms), (7, 100));
    // They are not options of the store, which would be opened again for them.
    assert_eq!(parse("0.1=/d,iops=5").unwrap().store, parse("0.1=/d").unwrap().store);
}

#[test]
fn an_export_may_name_its_worker() {
    let worker = |text| parse(text).unwrap().worker;
    assert_eq!(worker("0.1=/d"), None);
    assert_eq!(worker("0.1=/d,worker=auto"), None);
    assert_eq!(worker("0.1=x,store=null,length=1G,worker=3"), Some(3));
}

#[test]
fn an_option_of_others_is_recognised() {
    for (given, expected) in [
        ("readonly", Some("ro")),
        ("read_only=true", Some("ro")),
        ("RO", Some("ro")),
        ("ro=1", Some("ro")),
        ("rw", None),
        ("size=8", None),
        ("lenght=8", Some("length=N")),
        ("mmap", None),
        ("durabilty=durable", Some("durability=durable|volatile")),
        ("pin=1", Some("pin")),
        ("", None),
        ("nonsense", None),
    ] {
        assert_eq!(meant(given).as_deref(), expected, "{given}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let rows = [
        ("disk.img", "not an export"),
        ("0.1=", "not an export"),
        (
            "0.1=/d,readonly",
            "'readonly' is not an option of an export, did you mean `ro`? (known: ro, offset=N,",
        ),
        ("0.1=/d,ro=1", "'ro=1' is not an option of an export, did you mean `ro`?"),
        ("0.1=/d,rw", "'rw' is not an option of an export (known: "),
        ("0.1=/d,,ro", "'' is not an option"),
        ("0.1=/d,offset=100B", "not a multiple of 512"),
        ("0.1=/d,length=0", "at least one sector"),
        ("0.1=/d,store=disk", "give direct, file, mmap, null or ram"),
        ("0.1=/d,sync=all", "sync=all is not possible: give each or group"),
        ("0.1=/d,trim=yes", "trim=yes is not possible: give on or off"),
        ("0.1=/d,pin=1", "'pin=1' is not an option"),
        ("0.1=/d,worker=first", "worker=first is not possible: give a number from 0 to 1023, or auto"),
        ("0.1=/d,worker=1024", "worker=1024 is not possible"),
        ("0.1=/d,vlan=0", "vlan=0 is not possible: give a number from 1 to 4094, untagged or any"),
        ("0.1=/d,vlan=4095", "vlan=4095 is not possible"),
        ("0.1=/d,vlan=storage", "vlan=storage is not possible"),
        ("0.1=/d,vlan=20,vlan=any", "vlan=any is not possible: give any alone, or each VLAN"),
        ("0.1=/d,vlan=any,vlan=20", "vlan=20 is not possible: give any alone"),
        ("0.1=/d,vlan", "'vlan' is not an option of an export, did you mean `vlan=N|untagged|any`?"),
        ("0.1=/d,vlans=20", "did you mean `vlan="),
        ("0.1=/d,interface=", "interface= is not possible"),
        ("0.1=/d,iops=0", "iops=0 is not possible: give a number from 1 to 100000000, or none"),
        ("0.1=/d,host-iops=100000001", "host-iops=100000001 is not possible"),
        ("0.1=/d,iops=many", "iops=many is not possible"),
        ("0.1=/d,bytes-per-second=1000000", "'1000000' has no unit: give 512B to 1TiB with a unit"),
        ("0.1=/d,host-bytes-per-second=2TiB", "'2TiB' is too large"),
        ("0.1=/d,iops=5,burst=0", "burst=0 is not possible: give a number from 1 to 60000"),
        ("0.1=/d,burst=100", "burst has no meaning without a limit: leave it out, or give iops or "),
        ("0.1=/d,iops=none,burst=100", "burst has no meaning without a limit"),
        ("0.1=/d,iops=5,iops=6", "iops is given twice"),
        ("0.1=/d,max-iops=5", "'max-iops=5' is not an option"),
        ("0.1=/d,interfaces=eth1", "did you mean `interface=IF`?"),
        ("0.1=/d,trim=on,trim=off", "trim is given twice"),
        ("0.1=/d,durability=yes", "durable or volatile"),
        ("0.1=/d,ro,ro", "ro is given twice"),
        ("0.1=x,store=null", "needs a size"),
        ("0.1=x,store=null,length=1G,ro", "ro has no meaning"),
        ("0.1=x,store=null,length=1G,trim=off", "trim=off has no meaning with store=null"),
        ("0.1=x,store=null,length=1G,sync=each", "sync=each has no meaning with store=null"),
        ("0.1=x,store=null,length=1G,pin", "pin has no meaning with store=null"),
        ("0.1=/d,ro,trim=on", "trim=on has no meaning with ro: leave it out"),
        ("0.1=/d,sync=group,ro", "sync=group has no meaning with ro"),
        ("0.1=/d,sync=each,durability=volatile", "no meaning with durability=volatile: leave it"),
        ("0.1=/d,store=mmap,sync=each", "no meaning with store=mmap: leave it out, or give store=direct"),
        ("0.1=/d,store=file,sync=each", "no meaning with store=file"),
        ("0.1=/d,store=direct,pin", "pin has no meaning with store=direct: leave it out, or give store=mmap"),
        ("0.1=/d,store=file,huge", "huge has no meaning with store=file"),
        ("0.1=/d,pin", "pin has no meaning without store=mmap: leave it out, or give store=mmap"),
        ("0.1=/d,allow=anybody", "allow=anybody is not possible"),
        ("0.1=/d,allow=everybody,allow=02:00:00:00:00:01", "give everybody, or one address each"),
        ("4095.1=/d", "4095"),
        ("65535.1=/d", "65535"),
        ("0.255=/d", "255"),
        ("a.1=/d", "a.1"),
        ("e0.1=/d", "write the address as 0.1"),
    ];
    for (text, part) in rows {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn what_one_may_write_another_may_not_have() {
    let rows = [
        (["0.1=/d", "0.2=/d"], true),
        (["0.1=/d", "0.2=/./d"], true),
        (["0.1=/d", "0.2=/e"], false),
        (["0.1=/d,ro", "0.2=/d,ro"], false),
        (["0.1=/d,ro", "0.2=/d"], true),
        (["0.1=/d,length=8", "0.2=/d,offset=8"], false),
        (["0.1=/d,length=9", "0.2=/d,offset=8"], true),
        (["0.1=/d,offset=8", "0.2=/d,length=8"], false),
        (["0.1=/d,store=null,length=8", "0.2=/d"], false),
    ];
    for (texts, expected) in rows {
        let [a, b] = texts.map(|text| parse(text).unwrap().store);
        assert_eq!(a.overlaps(&b), expected, "{texts:?}");
    }
}
