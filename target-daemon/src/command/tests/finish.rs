//! Status and error register after the store has finished.

use crate::command::finish;
use crate::store::IoError::{Media, NoSpace, Range, ReadOnly, System};
use crate::store::Kind::{Flush, Read, Write};
use crate::wire::{Reply, ata};

#[test]
fn each_fault_has_its_status() {
    let request = ata::Request {
        flags: 0x40,
        feature: 0,
        count: 2,
        command: ata::Command::ReadSectorsExt,
        registers: [5, 0, 0, 0, 0, 0],
    };
    for (kind, result, expected) in [
        (Read, Ok(()), (0x40, 0x00, 1024)),
        (Write, Ok(()), (0x40, 0x00, 0)),
        (Flush, Ok(()), (0x40, 0x00, 0)),
        (Read, Err(Media), (0x41, 0x40, 0)),
        (Read, Err(Range), (0x41, 0x10, 0)),
        (Read, Err(System), (0x41, 0x04, 0)),
        (Write, Err(Media), (0x41, 0x04, 0)),
        (Write, Err(NoSpace), (0x41, 0x04, 0)),
        (Write, Err(ReadOnly), (0x41, 0x04, 0)),
        (Write, Err(Range), (0x41, 0x10, 0)),
        (Write, Err(System), (0x41, 0x04, 0)),
        (Flush, Err(Media), (0x41, 0x04, 0)),
        (Flush, Err(System), (0x41, 0x04, 0)),
    ] {
        let (ata, bytes) = match finish(&request, kind, result, &super::state()) {
            Reply::Ata(ata) => (ata, 0),
            Reply::AtaData { ata, bytes } => (ata, bytes),
            other => panic!("{other:?}"),
        };
        assert_eq!((ata.status, ata.error, bytes), expected, "{kind:?} {result:?}");
        assert_eq!((ata.count, ata.registers), (0, request.registers));
        assert_eq!(ata.is_good(), result.is_ok(), "as Linux sees it");
    }
}
