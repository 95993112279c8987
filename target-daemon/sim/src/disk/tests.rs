use super::calls::part;
use super::*;
use xblade_store::disk::IoSlice;

const SECTORS: u64 = 8;
const ALL: u32 = SECTORS as u32 * 512;

/// An open disk, and aligned memory for calls.
struct Rig {
    disk: SimDisk,
    engine: SimEngine,
    memory: Vec<u64>,
    now_ns: u64,
}

impl Rig {
    fn new(seed: u64, config: SimConfig) -> Self {
        let disk = SimDisk::new(seed, SECTORS * 512, config);
        Self { engine: disk.engine(), disk, memory: vec![0; 2048], now_ns: 0 }
    }

    fn piece(&mut self, bytes: u32) -> IoSlice {
        let base = self.memory.as_mut_ptr().expose_provenance();
        IoSlice { base: base.next_multiple_of(4096), bytes }
    }

    fn fill(&mut self, byte: u8) {
        self.memory.fill(u64::from_ne_bytes([byte; 8]));
    }

    fn push(&mut self, id: u32, call: IoRequest) {
        self.engine.push(id, call).unwrap();
        self.engine.submit();
    }

    /// Advances the time until a call ends.
    fn outcome(&mut self) -> (u32, IoResult) {
        loop {
            if let Some(outcome) = self.engine.next() {
                return outcome;
            }
            self.now_ns += 1_000_000;
            self.disk.advance(self.now_ns);
        }
    }

    fn run(&mut self, call: IoRequest) -> IoResult {
        self.push(0, call);
        self.outcome().1
    }

    fn write(&mut self, byte: u8, stable: bool) -> IoResult {
        self.fill(byte);
        let memory = self.piece(ALL);
        self.run(IoRequest::Write { at: 0, memory, stable })
    }

    /// The bytes found after a crash, one per sector.
    fn crashed(&self) -> Vec<u8> {
        self.disk.crash();
        self.disk.bytes().chunks(512).map(|sector| sector[0]).collect()
    }
}

#[test]
fn a_read_finds_what_was_written() {
    let mut rig = Rig::new(1, SimConfig::GOOD);
    assert_eq!(rig.write(7, false), Ok(u64::from(ALL)));
    rig.fill(0);
    let memory = rig.piece(1024);
    assert_eq!(rig.run(IoRequest::Read { at: 1024, memory }), Ok(1024));
    assert_eq!(part(memory, 2048), [7; 1024]);
    assert_eq!(rig.run(IoRequest::Measure), Ok(u64::from(ALL)));
    assert_eq!(rig.run(IoRequest::Punch { at: 0, bytes: 512 }), Ok(0));
    assert_eq!(rig.disk.bytes()[511..513], [0, 7]);
}

#[test]
fn a_crash_takes_what_is_not_stable_and_nothing_else() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..50 {
        let mut rig = Rig::new(seed, SimConfig::GOOD);
        rig.write(1, true).unwrap();
        rig.write(2, false).unwrap();
        rig.write(3, false).unwrap();
        for byte in rig.crashed() {
            assert!((1..=3).contains(&byte), "seed {seed}: {byte}");
            kept += u32::from(byte == 3);
            lost += u32::from(byte == 1);
        }
        assert_eq!(rig.run(IoRequest::Measure), Err(libc::EIO), "seed {seed}: the old opening is dead");
        assert!(rig.disk.stats().torn > 0, "seed {seed}");
    }
    assert!(kept > 50 && lost > 50, "{kept} kept, {lost} lost");
    let mut rig = Rig::new(1, SimConfig::GOOD);
    rig.write(1, false).unwrap();
    rig.run(IoRequest::Sync).unwrap();
    assert_eq!(rig.crashed(), [1; SECTORS as usize]);
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    let mut rig = Rig::new(1, SimConfig::GOOD);
    rig.write(1, false).unwrap();
    rig.disk.kill();
    assert_eq!(rig.disk.bytes(), [1; ALL as usize]);
}

#[test]
fn a_sync_covers_only_writes_that_had_finished() {
    let mut lost = 0;
    for seed in 0..50 {
        let mut rig = Rig::new(seed, SimConfig::GOOD);
        rig.fill(1);
        let memory = rig.piece(ALL);
        rig.engine.push(1, IoRequest::Write { at: 0, memory, stable: false }).unwrap();
        rig.push(2, IoRequest::Sync);
        for _ in 0..2 {
            rig.outcome().1.unwrap();
        }
        lost += rig.crashed().iter().filter(|byte| **byte == 0).count();
    }
    assert!(lost > 50, "{lost}");
}

#[test]
fn what_a_failed_sync_has_lost_stays_lost() {
    let mut lost = 0;
    for seed in 0..50 {
        let mut rig = Rig::new(seed, SimConfig { sync_errors: 10_000, ..SimConfig::GOOD });
        rig.write(1, false).unwrap();
        assert!(!rig.disk.sync_failed());
        assert_eq!(rig.run(IoRequest::Sync), Err(libc::EIO));
        assert!(rig.disk.sync_failed());
        rig.disk.heal();
        rig.run(IoRequest::Sync).unwrap();
        lost += rig.crashed().iter().filter(|byte| **byte == 0).count();
    }
    assert!(lost > 50, "{lost}");
}

#[test]
fn faults_come_at_their_rate() {
    let memory = |rig: &mut Rig| rig.piece(ALL);
    let mut rig = Rig::new(1, SimConfig { read_errors: 10_000, write_errors: 10_000, ..SimConfig::GOOD });
    let piece = memory(&mut rig);
    assert_eq!(rig.run(IoRequest::Read { at: 0, memory: piece }), Err(libc::EIO));
    assert_eq!(rig.write(1, true), Err(libc::EIO));
    let mut rig = Rig::new(1, SimConfig { no_space: 10_000, ..SimConfig::GOOD });
    assert_eq!(rig.write(1, true), Err(libc::ENOSPC));
    let mut rig = Rig::new(1, SimConfig { short: 10_000, again: 0, ..SimConfig::GOOD });
    let moved = rig.write(1, true).unwrap();
    assert!(moved > 0 && moved < u64::from(ALL) && moved.is_multiple_of(512), "{moved}");
    let mut rig = Rig::new(1, SimConfig { stuck: 10_000, ..SimConfig::GOOD });
    rig.push(1, IoRequest::Sync);
    rig.disk.advance(u64::MAX / 2);
    assert_eq!((rig.engine.next(), rig.disk.next_due_ns()), (None, None));
    rig.disk.release_stuck();
    assert_eq!(rig.engine.next(), Some((1, Ok(0))));
}

#[test]
fn unaligned_calls_are_refused() {
    let mut rig = Rig::new(1, SimConfig { block_bytes: 4096, ..SimConfig::GOOD });
    let memory = rig.piece(4096);
    let odd = IoSlice { base: memory.base + 512, bytes: 4096 };
    for call in [
        IoRequest::Read { at: 512, memory },
        IoRequest::Read { at: 0, memory: odd },
        IoRequest::Read { at: 0, memory: IoSlice { bytes: 512, ..memory } },
        IoRequest::Write { at: 512, memory, stable: true },
        IoRequest::Punch { at: 0, bytes: 512 },
    ] {
        assert_eq!(rig.run(call), Err(libc::EINVAL), "{call:?}");
    }
    assert_eq!(rig.run(IoRequest::Read { at: 0, memory }), Ok(4096));
}
