//! Which frames are answered, and how replies are addressed.

use super::*;

/// A config read: the smallest request that gets a reply.
fn ask() -> Vec<u8> {
    frame(1, &[0; 8])
}

#[test]
fn answer_goes_back_over_the_link_it_came_by() {
    let reply = run(&mut state(), &ask()).reply();
    assert_eq!(reply[..6], HOST.0);
    assert_eq!(reply[6..12], OWN.0);
    assert_eq!(reply[12..24], [0x88, 0xA2, 0x18, 0, 0, 7, 3, 1, 0x81, 2, 3, 4]);
}

#[test]
fn answer_keeps_vlan_tags_and_is_padded_to_60() {
    let tag = [0x81, 0x00, 0xE0, 0x05, 0x88, 0xA8, 0x00, 0x07];
    for tags in [&tag[..0], &tag[..4], &tag] {
        let mut asked = ask();
        asked.splice(12..12, tags.iter().copied());
        let reply = run(&mut in_any_vlan(), &asked).reply();
        let l2_len = 14 + tags.len();
        assert_eq!(reply.len(), 60, "{} bytes of tags", tags.len());
        assert_eq!(reply[12..l2_len - 2], *tags);
        assert_eq!(reply[l2_len - 2..l2_len + 2], [0x88, 0xA2, 0x18, 0]);
        assert_eq!(reply[l2_len + 10 + 8..], vec![0; 60 - l2_len - 18]);
    }
}

#[test]
fn answer_has_the_real_address_whatever_was_asked() {
    for (shelf, slot, expected) in [
        (7, 3, true),
        (0xffff, 3, true),
        (7, 0xff, true),
        (0xffff, 0xff, true),
        (8, 3, false),
        (7, 4, false),
        (0xffff, 4, false),
        (8, 0xff, false),
    ] {
        let mut asked = ask();
        let [high, low] = u16::to_be_bytes(shelf);
        asked[16..19].copy_from_slice(&[high, low, slot]);
        match run(&mut state(), &asked) {
            Seen::Reply(reply) => {
                assert!(expected, "{shelf}.{slot}");
                assert_eq!(reply[16..19], [0, 7, 3]);
            }
            seen => {
                assert_eq!(seen, Seen::Ignored(DropReason::Address));
                assert!(!expected, "{shelf}.{slot}");
            }
        }
    }
}

#[test]
fn request_flags_and_error_byte_do_not_come_back() {
    let mut asked = ask();
    asked[14..16].copy_from_slice(&[0x17, 0xEE]);
    let reply = run(&mut state(), &asked).reply();
    assert_eq!(reply[14..16], [0x18, 0]);
}

#[test]
fn frames_that_must_not_be_answered() {
    for (at, bytes, expected) in [
        (0, &OTHER.0[..], DropReason::Destination),
        (6, &OWN.0, DropReason::Source),
        (6, &[0xff; 6], DropReason::Source),
        (6, &[0; 6], DropReason::Source),
        (12, &[0x08, 0x00], DropReason::NotAoe),
        (14, &[0x18], DropReason::Response),
        (14, &[0x20], DropReason::Version),
        (14, &[0x00], DropReason::Version),
        (16, &[0, 8], DropReason::Address),
    ] {
        let mut asked = ask();
        asked[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(run(&mut state(), &asked), Seen::Ignored(expected), "{bytes:x?} at {at}");
    }
}

#[test]
fn lists_silence_every_command() {
    let ata_read = [0, 0, 1, 0x24, 0, 0, 0, 0, 0, 0, 0, 0];
    for command in [0, 1, 2, 3, 9] {
        let asked = frame(command, &ata_read);
        let mut state = with_settings(|settings| settings.acl = Acl::new([OTHER]));
        assert_eq!(run(&mut state, &asked), Seen::Ignored(DropReason::Acl), "{command}");
        state.settings.acl = Acl::default();
        state.add_to_mask(OTHER).unwrap();
        assert_eq!(run(&mut state, &asked), Seen::Ignored(DropReason::Mask), "{command}");
        state.add_to_mask(HOST).unwrap();
        assert!(!matches!(run(&mut state, &asked), Seen::Ignored(_)), "{command}");
    }
}

/// Whatever the command, and also if the address is broadcast.
#[test]
fn requests_of_other_vlans_and_interfaces_get_no_reply() {
    let ata_read = [0, 0, 1, 0x24, 0, 0, 0, 0, 0, 0, 0, 0];
    let tag = |tpid: u16, id: u16| [tpid.to_be_bytes(), (0xE000 | id).to_be_bytes()].concat();
    let (none, priority, own, other) = (vec![], tag(0x8100, 0), tag(0x8100, 20), tag(0x8100, 21));
    let double = [own.clone(), other.clone()].concat();
    let hidden = [other.clone(), own.clone()].concat();
    let (service, provider) = (tag(0x88A8, 20), [tag(0x88A8, 7), own.clone()].concat());
    let all = [&none, &priority, &own, &other, &double, &hidden, &service, &provider];
    for (vlans, served) in [
        (Vlans::Untagged, &[&none, &priority][..]),
        (Vlans::listed([20]), &[&own, &double]),
        (Vlans::listed([0, 21]), &[&none, &priority, &other, &hidden]),
        (Vlans::Any, &all),
    ] {
        for (tags, command) in all.iter().flat_map(|tags| [0, 1, 2, 3, 9].map(|command| (tags, command))) {
            let mut asked = frame(command, &ata_read);
            for shelf in [[0, 7], [0xff, 0xff]] {
                asked[16..18].copy_from_slice(&shelf);
                let mut tagged = asked.clone();
                tagged.splice(12..12, tags.iter().copied());
                let mut state = with_settings(|settings| settings.segments.vlans = vlans.clone());
                let seen = run(&mut state, &tagged);
                if served.contains(tags) {
                    assert!(!matches!(seen, Seen::Ignored(_)), "{tags:x?} in {vlans:?}: {seen:?}");
                } else {
                    assert_eq!(seen, Seen::Ignored(DropReason::Vlan), "{tags:x?} in {vlans:?}");
                }
                state.settings.segments = Segments { vlans: Vlans::Any, interfaces: Some([1].into()) };
                assert_eq!(run(&mut state, &tagged), Seen::Ignored(DropReason::Interface));
            }
        }
    }
}

#[test]
fn unknown_command_is_refused_by_a_bare_header() {
    for command in [4, 0xEF, 0xF0, 0xFF] {
        assert_eq!(run(&mut state(), &frame(command, &[])).refusal(), 1, "{command}");
        assert_eq!(run(&mut state(), &frame(command, &[0xEE; 500])).refusal(), 1, "{command}");
    }
}
