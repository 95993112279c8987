//! A VM that is stopped, with the target inside; `tests/interop/pauses` boots it.

use std::path::PathBuf;
use std::{fs, io};

use super::case::{Idle, Row, Setup, Who};
use super::cores::Cores;
use super::host::Hosts;
use super::qmp::Qmp;
use super::race::Subject;
use super::wire::Wire;
use super::{Options, Report, stage};
use crate::crash::random::Random;

/// The workers and the queues of an interface in the VM, and its processors.
const WORKERS: usize = 2;

/// The VM. Its interfaces have the addresses of [`super::host::target`]. Its exports are
/// those of the options, all owned by worker 0. Each worker runs on the processor with its
/// number.
#[derive(Clone, Debug)]
pub struct Vm {
    /// The QMP socket.
    pub qmp: PathBuf,
    /// The taps of its interfaces.
    pub taps: Vec<String>,
    /// The most sectors of a request.
    pub sectors_max: u8,
}

/// Runs the pauses of a VM that already serves, in the namespace of its taps.
///
/// # Errors
///
/// Those of QMP or a tap.
pub fn run(options: &Options, vm: &Vm) -> io::Result<Report> {
    let mut random = Random::new(options.seed);
    let mut report = Report::new(options);
    let qmp = Qmp::connect(&vm.qmp)?;
    let processors = qmp.processors()?;
    assert_eq!(processors.len(), WORKERS, "the VM has another number of processors");
    // All threads of QEMU except the processors must continue while one wakes late.
    let tasks = fs::read_dir(format!("/proc/{}/task", processors[0]))?;
    let tids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let others: Vec<i32> = tids.filter(|tid| !processors.contains(tid)).collect();
    let cores: io::Result<Vec<_>> = processors.iter().chain(&others).map(|tid| Cores::of(*tid)).collect();

    let exports = options.exports();
    let setup = Setup {
        workers: WORKERS,
        interfaces: vm.taps.len(),
        idle: Idle::Adaptive,
        sectors_max: vm.sectors_max,
    };
    let subject = Subject {
        pid: 0,
        workers: &processors,
        others: &others,
        cores: &cores?,
        freezer: None,
        vm: Some(&qmp),
        owners: &vec![0; exports.len()],
        spreads: false,
    };
    let mut hosts =
        Hosts::new(Wire::over_taps(&vm.taps)?, &options.tags, exports.len(), vm.sectors_max, random.draw());
    let rows = options.rows().into_iter().map(|row| Row { who: Who::Vm, ..row });
    let rows: Vec<_> = rows.collect();
    let rows = rows.into_iter().cycle().take(options.pauses as usize);
    stage::go_through(options, setup, rows, &subject, &mut hosts, &mut random, &mut report);
    Ok(report)
}
