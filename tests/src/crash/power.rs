//! Power cuts under load.

use std::time::Duration;

use super::disk::{self, Disk, FileSystem};
use super::kill::read_file;
use super::random::Random;
use super::stage::{Stage, in_memory};
use super::write_history::{Checked, WriteHistory};
use super::{Options, Report, load_time};

/// The size of the file, which is created again for each cut.
const SECTORS: u64 = 64 << 10;

/// Cuts the power until it has done so often enough, or data is lost.
pub fn run(options: &Options, kind: FileSystem) -> Report {
    let mut random = Random::new(options.seed);
    let mut report = Report::new(format!("power {}", kind.name()));
    // In memory: what a cut leaves is decided above the image.
    let mut stage = Stage::new(options, &report.title, &in_memory(), &mut random);
    let disk = Disk::new(&stage.pair.ours, stage.folder(), kind);
    while report.cycles < options.cycles && !options.must_end(&report) {
        stage.begin(&mut report);
        let mut history = WriteHistory::new(random.draw(), SECTORS);
        disk.renew(&stage.pair.ours, SECTORS * 512);
        load_and_cut(&mut stage, &disk, &mut history, &mut random);
        disk.restart(&stage.pair.ours);
        let mut checked = Checked::default();
        read_file(&disk.open(&stage.pair.ours), &mut history, &mut checked);
        report.add(options, &checked);
        stage.end(&mut report);
    }
    report
}

fn load_and_cut(stage: &mut Stage<'_>, disk: &Disk, history: &mut WriteHistory, random: &mut Random) {
    let mut daemon = stage.start(&disk.path());
    let file = disk.open(&stage.pair.ours);
    stage.initiator.load(history, load_time(random));
    stage.initiator.power_is_cut(history, || disk::cut(&file));
    // On the dead file system, writes may fail or hang, but not be acknowledged.
    let end = std::time::Instant::now() + Duration::from_micros(random.within(0..20_000));
    while std::time::Instant::now() < end {
        stage.initiator.turn(history);
    }
    daemon.kill(|| stage.initiator.turn(history));
    stage.initiator.abandon(history);
}
