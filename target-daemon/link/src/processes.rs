//! Processes of this host, as `/proc` shows them: who holds what.

use std::fs;
use std::path::PathBuf;

/// Id and name of each process with an entry in this folder of `/proc/PID` that
/// fits. A process that cannot be seen stays out.
pub fn with(folder: &str, fits: impl Fn(PathBuf) -> bool) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let fitting = |pid: &u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/{folder}")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(&fits)
    };
    pids.filter(fitting).map(|pid| (pid, name_of(pid))).collect()
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.map_or_else(|_| "?".to_owned(), |text| text.trim_end().to_owned())
}
