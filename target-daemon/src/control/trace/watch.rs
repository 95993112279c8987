//! `xblade trace`: prints the trace of a running xblade as text, JSON or pcap.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::line::{Line, TraceEvent};
use super::pcap::Pcap;
use crate::config::Trace;
use crate::control::call::Client;
use crate::control::client::{fail, failed};
use crate::control::print::{TRACE_HEADING, trace_line};

/// The file name that means standard output.
const STDOUT: &str = "-";

/// Prints events until the limit given in the options, or until the reader closes
/// standard output.
///
/// # Errors
///
/// The exit code; the reason has been printed.
pub fn run(options: &Trace) -> Result<(), u8> {
    let uri = uri(options)?;
    let client = Client::new(&options.reach.control);
    let mut lines = client.lines(&uri).map_err(failed)?;
    let until = options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut output = Output::new(options)?;
    let mut left = options.count;
    while left != Some(0)
        && let Some(bytes) = lines.next(until).map_err(failed)?
    {
        let line = client.parse(&bytes).map_err(failed)?;
        match output.take(&bytes, &line) {
            Ok(()) => {}
            // The reader has closed the pipe.
            Err(Unwritten::Stdout) => break,
            Err(Unwritten::Pcap(code)) => return Err(code),
        }
        if let (Some(left), Line::Told(_)) = (&mut left, &line) {
            *left -= 1;
        }
    }
    output.end();
    Ok(())
}

fn uri(options: &Trace) -> Result<String, u8> {
    if is_stdout(options.pcap.as_deref()) && (options.every.is_some() || options.reach.json) {
        let text = "--pcap - writes frames to standard output, and nothing can go beside them: give a file, or leave \
                    --every and --json out";
        return Err(fail(text, 2));
    }
    let every = options.every.map(|every| format!("every={every}"));
    let dropped = (options.dropped || options.pcap.is_some()).then(|| "dropped=true".to_owned());
    let export = options.export.map(|export| format!("export={export}"));
    let query: Vec<String> = [every, dropped, export].into_iter().flatten().collect();
    Ok(format!("{}?{}", super::PATH, query.join("&")))
}

fn is_stdout(pcap: Option<&Path>) -> bool {
    pcap == Some(Path::new(STDOUT))
}

/// A failed write.
enum Unwritten {
    /// To standard output.
    Stdout,
    /// To the pcap file: the exit code; the reason has been printed.
    Pcap(u8),
}

/// Where the output goes.
struct Output<'a> {
    json: bool,
    /// The path and writer of the pcap file.
    pcap: Option<(&'a Path, Pcap<Box<dyn Write>>)>,
    frames: u64,
}

impl<'a> Output<'a> {
    fn new(options: &'a Trace) -> Result<Self, u8> {
        let pcap = match options.pcap.as_deref() {
            None => None,
            Some(path) => {
                let pcap = open(path).map_err(|error| unwritten(path, &error))?;
                Some((path, pcap))
            }
        };
        let output = Self { json: options.reach.json, pcap, frames: 0 };
        if !output.json {
            // If this fails, so will the first line.
            let _ = output.say(TRACE_HEADING);
        }
        Ok(output)
    }

    fn take(&mut self, bytes: &[u8], line: &Line) -> Result<(), Unwritten> {
        if let (Some((path, pcap)), Line::Told(event)) = (&mut self.pcap, line)
            && let Some((at, len, frame)) = TraceEvent::frame(event)
        {
            match pcap.put(at, len, &frame) {
                Ok(()) => self.frames += 1,
                Err(error) if is_stdout(Some(path)) && error.kind() == ErrorKind::BrokenPipe => {
                    return Err(Unwritten::Stdout);
                }
                Err(error) => return Err(Unwritten::Pcap(unwritten(path, &error))),
            }
        }
        let said =
            if self.json { self.say(&String::from_utf8_lossy(bytes)) } else { self.say(&trace_line(line)) };
        said.map_err(|_| Unwritten::Stdout)
    }

    /// Prints a line, unless standard output carries frames.
    fn say(&self, text: &str) -> io::Result<()> {
        if self.pcap.as_ref().is_some_and(|(path, _)| is_stdout(Some(path))) {
            return Ok(());
        }
        writeln!(io::stdout(), "{}", text.trim_end())
    }

    fn end(self) {
        if let Some((path, _)) = self.pcap {
            let n = self.frames;
            let frames = if n == 1 { "frame" } else { "frames" };
            let _ = writeln!(io::stderr(), "{n} {frames} in {}", path.display());
        }
    }
}

fn open(path: &Path) -> io::Result<Pcap<Box<dyn Write>>> {
    Pcap::new(if is_stdout(Some(path)) { Box::new(io::stdout()) } else { Box::new(File::create(path)?) })
}

fn unwritten(path: &Path, error: &io::Error) -> u8 {
    fail(&format!("{}: cannot be written: {error}: give another file with --pcap", path.display()), 3)
}
