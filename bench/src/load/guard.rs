//! Detects existing data before it is overwritten.

/// Kinds of data, and where which bytes tell them.
const SIGNATURES: [(&str, usize, &[u8]); 17] = [
    ("a GPT partition table", 512, b"EFI PART"),
    ("a GPT partition table (4 KiB sectors)", 4096, b"EFI PART"),
    ("an ext2/3/4 file system", 1080, b"\x53\xEF"),
    ("an XFS file system", 0, b"XFSB"),
    ("a Btrfs file system", 65600, b"_BHRfS_M"),
    ("an F2FS file system", 1024, b"\x10\x20\xF5\xF2"),
    ("an NTFS file system", 3, b"NTFS    "),
    ("an exFAT file system", 3, b"EXFAT   "),
    ("a FAT file system", 54, b"FAT1"),
    ("a FAT file system", 82, b"FAT32"),
    ("a SquashFS file system", 0, b"hsqs"),
    ("an ISO 9660 file system", 32769, b"CD001"),
    ("a LUKS volume", 0, b"LUKS\xBA\xBE"),
    ("an LVM physical volume", 512, b"LABELONE"),
    ("swap space", 4086, b"SWAPSPACE2"),
    ("a member of an MD array", 4096, b"\xFC\x4E\x2B\xA9"),
    ("a member of an MD array", 0, b"\xFC\x4E\x2B\xA9"),
];

/// The number of bytes at the start of an export that [`find_data`] needs.
pub const LOOKED_AT: usize = 132 * 512;

/// The kind of data in the first bytes of an export, if any is recognized.
pub fn find_data(start: &[u8]) -> Option<&'static str> {
    let is_there =
        |(_, at, bytes): &&(&str, usize, &[u8])| start.get(*at..).is_some_and(|rest| rest.starts_with(bytes));
    let known = SIGNATURES.iter().find(is_there).map(|(name, ..)| *name);
    known.or_else(|| has_partitions(start).then_some("an MBR partition table"))
}

/// Whether there is a boot signature with at least one partition.
fn has_partitions(start: &[u8]) -> bool {
    const ENTRY: usize = 16;
    let table = start.get(446..446 + 4 * ENTRY).unwrap_or(&[]);
    let used = table.chunks(ENTRY).any(|entry| entry.get(4).is_some_and(|&kind| kind != 0));
    used && start.get(510..512) == Some(&[0x55, 0xAA])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut start = vec![0; LOOKED_AT];
        start[at..at + bytes.len()].copy_from_slice(bytes);
        start
    }

    #[test]
    fn every_signature_is_found_and_within_what_is_read() {
        for (name, at, bytes) in SIGNATURES {
            assert!(at + bytes.len() <= LOOKED_AT, "{name}");
            assert_eq!(find_data(&with(at, bytes)), Some(name));
        }
    }

    #[test]
    fn a_boot_signature_counts_only_with_a_partition() {
        let mut start = with(510, &[0x55, 0xAA]);
        assert_eq!(find_data(&start), None);
        start[446 + 16 + 4] = 0x83;
        assert_eq!(find_data(&start), Some("an MBR partition table"));
        assert_eq!(find_data(&[]), None);
        assert_eq!(find_data(&vec![0xA5; LOOKED_AT]), None);
    }
}
