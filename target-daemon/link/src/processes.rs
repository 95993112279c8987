//! Finds processes of this host in `/proc` by what they hold open.

use std::fs;
use std::path::PathBuf;

/// The id and name of each process that has a matching entry in this directory of
/// `/proc/PID`. Processes that are not visible are left out.
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
