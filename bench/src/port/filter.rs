//! A socket filter: the kernel discards everything but replies to the socket's own tags
//! before copying.

use std::io;
use std::os::fd::AsFd;

use super::packet::set_option;
use super::tags::Tags;

/// Offset of the flags of the AoE header, behind an untagged Ethernet header. (The kernel
/// removes the outer VLAN tag before.)
const FLAGS_AT: u32 = 14;
/// Offset of the tag.
const TAG_AT: u32 = 20;
/// The response flag.
const RESPONSE: u32 = 0x08;

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP_IF_ANY: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// A classic BPF program. It rejects frames that are too short for the fields it reads.
fn program(tags: Tags) -> [libc::sock_filter; 7] {
    let line = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    [
        line(LOAD_BYTE, 0, 0, FLAGS_AT),
        line(JUMP_IF_ANY, 0, 4, RESPONSE),
        line(LOAD_WORD, 0, 0, TAG_AT),
        line(AND, 0, 0, tags.mask),
        line(JUMP_IF_EQUAL, 0, 1, tags.value),
        line(RETURN, 0, 0, u32::MAX),
        line(RETURN, 0, 0, 0),
    ]
}

/// Attaches a filter that admits only responses with these tags.
pub fn attach(socket: &impl AsFd, tags: Tags) -> io::Result<()> {
    let mut lines = program(tags);
    let program = libc::sock_fprog { len: lines.len() as u16, filter: lines.as_mut_ptr() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::aoe::{Address, Ata, Mac, Opcode, Route, TAG_USER};

    /// Whether the kernel lets a frame pass; any kind of socket takes a filter.
    fn passes(tags: Tags, frame: &[u8]) -> bool {
        let (from, to) = UnixDatagram::pair().unwrap();
        attach(&to, tags).unwrap();
        to.set_nonblocking(true).unwrap();
        let _ = from.send(frame);
        let mut bytes = [0; 128];
        to.recv(&mut bytes).is_ok_and(|n| bytes.get(..n) == Some(frame))
    }

    fn frame(tag: u32, response: bool) -> Vec<u8> {
        let route = Route { from: Mac([2; 6]), to: Mac([4; 6]), address: Address { shelf: 7, slot: 3 } };
        let ata = Ata { command: Opcode::ReadSectorsExt, lba: 0, sectors: 1 };
        let mut frame = route.ata(ata, tag).to_vec();
        frame[14] |= if response { 0x08 } else { 0 };
        frame
    }

    #[test]
    fn a_socket_hears_the_replies_to_its_own_tags_alone() {
        for threads in [1, 3, 8] {
            for thread in 0..threads {
                let tags = Tags::of(thread, threads);
                for tag in [tags.value, tags.value | !tags.mask] {
                    for other in 0..threads {
                        let passed = passes(Tags::of(other, threads), &frame(tag, true));
                        assert_eq!(passed, other == thread, "tag {tag:#x} at {other} of {threads}");
                    }
                    assert!(!passes(tags, &frame(tag, false)), "a request");
                    assert!(!passes(tags, &frame(tag & !TAG_USER, true)), "the Linux initiator's");
                    assert!(!passes(tags, &frame(tag, true)[..23]), "cut short");
                }
            }
        }
    }
}
