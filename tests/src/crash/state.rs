//! Power cuts while a host changes the saved state of exports: config string, mask list,
//! reservation. The file system that fails is that of the state directory; the export is
//! elsewhere.

use std::fs::File;
use std::time::Duration;

use xblade::wire::ether;
use xblade_kit::{Initiator, OURS, PATIENCE, PEER};

use super::disk::{self, Disk, FileSystem};
use super::initiator::ADDRESS;
use super::random::Random;
use super::stage::{Stage, in_memory};
use super::{Options, Report};
use crate::frame::{MASK, QUERY, RESERVE, mac, mask, query, reserve};
use crate::{Daemon, HOST, Mac};

/// How long to watch for a reply that must not arrive.
const AFTER_THE_CUT: Duration = Duration::from_millis(20);

/// Cuts the power until it has done so often enough, or state is lost. In the report,
/// writes are changes of the state.
pub fn run(options: &Options, kind: FileSystem) -> Report {
    let mut random = Random::new(options.seed);
    let mut report = Report::new(format!("state {}", kind.name()));
    let mut stage = Stage::new(options, &report.title, &in_memory(), &mut random);
    let disk = Disk::new(&stage.pair.ours, stage.folder(), kind);
    let export = stage.folder().join("export");
    File::create(&export).and_then(|file| file.set_len(1 << 20)).expect("an export");
    let mut host = Host::new(Initiator::new(&stage.pair.peer, PEER, stage.pair.ours.mac(OURS)));
    while report.cycles < options.cycles && !options.must_end(&report) {
        stage.begin(&mut report);
        // The daemon creates the directory, so that is cut off as well.
        let folder = disk.path().with_file_name(format!("state-{}", report.cycles));
        stage.state = Some(folder.clone());
        let mut daemon = stage.start(&export);
        let handle = stage.pair.ours.run(move || File::open(folder)).expect("the state folder");
        let acknowledged = host.set_and_cut(&mut random, || disk::cut(&handle));
        stage.initiator.counts.acknowledged += acknowledged;
        drop(handle);
        daemon.kill(|| ());
        disk.restart(&stage.pair.ours);
        let daemon = stage.launch(&export);
        let found = host.read_back(&daemon);
        if found.is_some() {
            daemon.stop();
        }
        host.check(options, found, &mut report);
        stage.end(&mut report);
    }
    report
}

/// The settings of the export.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Settings {
    config: Vec<u8>,
    mask: Vec<Mac>,
    reservation: Vec<Mac>,
}

impl Settings {
    /// Changes one of the three. Returns the request for it.
    fn change(&mut self, random: &mut Random) -> (u8, Vec<u8>) {
        match random.within(0..3) {
            0 => {
                let letter = b'a' + random.within(0..26) as u8;
                self.config = format!("{:016x}", random.draw()).into_bytes();
                self.config.resize(random.within(16..1000) as usize, letter);
                (QUERY, query(4, &self.config))
            }
            1 => {
                // This host stays on the list, otherwise it would get no more replies.
                let one = mac(random.within(0..200) as u8);
                let is_there = self.mask.contains(&one);
                self.mask.retain(|mac| *mac != one && *mac != HOST);
                self.mask.push(HOST);
                self.mask.extend((!is_there).then_some(one));
                self.mask.sort_unstable();
                let directive = if is_there { 2 } else { 1 };
                (MASK, mask(1, 0, 2, &[(1, HOST), (directive, one)]))
            }
            _ => {
                let others = (0..random.within(0..100)).map(|_| mac(random.within(0..200) as u8));
                self.reservation = others.chain([HOST]).collect();
                self.reservation.sort_unstable();
                self.reservation.dedup();
                let count = self.reservation.len() as u8;
                (RESERVE, reserve(2, count, &self.reservation))
            }
        }
    }
}

/// A host that makes one change after the other.
struct Host {
    host: Initiator,
    /// Each was sent after the one before.
    versions: Vec<Settings>,
    /// The last acknowledged one.
    acknowledged: usize,
}

impl Host {
    fn new(mut host: Initiator) -> Self {
        host.mac = ether::Mac(HOST);
        host.set_next_tag(0x5e77_0000);
        Self { host, versions: Vec::new(), acknowledged: 0 }
    }

    /// Makes some changes, and cuts the power. A reply to a request in flight at that
    /// instant proves nothing: a real power failure would have ended the daemon before it
    /// could send one. Later requests count in full. Returns the number of acknowledged
    /// changes.
    fn set_and_cut(&mut self, random: &mut Random, cut: impl FnOnce()) -> u64 {
        (self.versions, self.acknowledged) = (vec![Settings::default()], 0);
        let changes = random.within(1..8);
        for _ in 0..changes {
            let request = self.next_version(random);
            self.exchange(&request, PATIENCE).expect("an answer");
            self.acknowledged = self.versions.len() - 1;
        }
        if random.within(0..2) == 0 {
            let request = self.next_version(random);
            self.host.send_argument(ADDRESS, request.0.into(), &request.1);
            std::thread::sleep(Duration::from_micros(random.within(0..2000)));
        }
        cut();
        let request = self.next_version(random);
        let answer = self.exchange(&request, AFTER_THE_CUT);
        if answer.is_some() {
            self.acknowledged = self.versions.len() - 1;
        }
        changes + u64::from(answer.is_some())
    }

    fn next_version(&mut self, random: &mut Random) -> (u8, Vec<u8>) {
        let mut next = self.versions.last().expect("a version").clone();
        let request = next.change(random);
        self.versions.push(next);
        request
    }

    /// The settings of a new daemon; `None` if it refuses to serve the export.
    fn read_back(&mut self, daemon: &Daemon) -> Option<Settings> {
        if !daemon.logs("ready:") {
            return None;
        }
        let mut ask = |command, argument| self.exchange(&(command, argument), PATIENCE).expect("an answer");
        let config = ask(QUERY, query(0, b""));
        let config = config[8..8 + usize::from(u16::from_be_bytes([config[6], config[7]]))].to_vec();
        let listed = ask(MASK, mask(0, 0, 0, &[]));
        let directives = listed[4..].chunks_exact(8).take(listed[3].into());
        let mut mask: Vec<Mac> = directives.map(|one| one[2..].try_into().unwrap()).collect();
        let listed = ask(RESERVE, reserve(0, 0, &[]));
        let macs = listed[2..].chunks_exact(6).take(listed[1].into());
        let mut reservation: Vec<Mac> = macs.map(|one| one.try_into().unwrap()).collect();
        mask.sort_unstable();
        reservation.sort_unstable();
        Some(Settings { config, mask, reservation })
    }

    /// Checks that these are the settings acknowledged last, or sent later.
    fn check(&self, options: &Options, found: Option<Settings>, report: &mut Report) {
        let allowed = &self.versions[self.acknowledged..];
        if found.as_ref().is_some_and(|found| allowed.contains(found)) {
            return;
        }
        report.losing_cycles += 1;
        let found = found.map_or("is refused".to_owned(), |found| format!("is {found:x?}"));
        report.losses.push(format!(
            "seed {}, cycle {}: the state {found}, and may be one of {allowed:x?}",
            options.seed, report.cycles
        ));
    }

    /// The argument of the reply, if one arrives within this time.
    fn exchange(&mut self, (command, argument): &(u8, Vec<u8>), limit: Duration) -> Option<Vec<u8>> {
        self.host.exchange(ADDRESS, (*command).into(), argument, limit)
    }
}
