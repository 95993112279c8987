//! `xblade trace`: prints the trace of a running xblade as text, JSON or pcap.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::line::Line;
use super::pcap;
use crate::config::Trace;
use crate::control::call::{CallError, Client};
use crate::control::print::{TRACE_HEADING, trace_line};

/// Prints events until the limit given in the options, or until the reader closes
/// standard output.
///
/// # Errors
///
/// See [`CallError`].
pub fn run(options: &Trace) -> Result<(), CallError> {
    let client = Client::new(&options.reach.control);
    let mut lines = client.lines(&uri(options)?)?;
    let until = options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut output = Output::new(options)?;
    let mut left = options.count;
    while left != Some(0)
        && let Some(bytes) = lines.next(until)?
    {
        let line = client.parse(&bytes)?;
        if !output.take(&bytes, &line)? {
            break;
        }
        if let (Some(left), Line::Told(_)) = (&mut left, &line) {
            *left -= 1;
        }
    }
    output.end();
    Ok(())
}

fn uri(options: &Trace) -> Result<String, CallError> {
    if options.pcap.as_deref().is_some_and(is_stdout) && (options.every.is_some() || options.reach.json) {
        let text = "--pcap - writes frames to standard output, and nothing can go beside them: give a file, or leave \
                    --every and --json out";
        return Err(CallError::new(2, text));
    }
    let every = options.every.map(|every| format!("every={every}"));
    let dropped = (options.dropped || options.pcap.is_some()).then(|| "dropped=true".to_owned());
    let export = options.export.map(|export| format!("export={export}"));
    let query: Vec<String> = [every, dropped, export].into_iter().flatten().collect();
    Ok(format!("{}?{}", super::PATH, query.join("&")))
}

fn is_stdout(pcap: &Path) -> bool {
    pcap == Path::new("-")
}

/// Where the output goes.
struct Output<'a> {
    json: bool,
    /// The path and writer of the pcap file.
    pcap: Option<(&'a Path, Box<dyn Write>)>,
    frames: u64,
}

impl<'a> Output<'a> {
    fn new(options: &'a Trace) -> Result<Self, CallError> {
        let open = |path: &'a Path| {
            let to = if is_stdout(path) {
                Ok(Box::new(io::stdout()) as Box<dyn Write>)
            } else {
                File::create(path).map(|file| Box::new(file) as _)
            };
            let begun = to.and_then(|mut to| pcap::begin(&mut to).map(|()| to));
            begun.map(|to| (path, to)).map_err(|error| unwritten(path, &error))
        };
        let output = Self {
            json: options.reach.json,
            pcap: options.pcap.as_deref().map(open).transpose()?,
            frames: 0,
        };
        if !output.json {
            // If this fails, so will the first line.
            let _ = output.say(TRACE_HEADING);
        }
        Ok(output)
    }

    /// Writes a line. Returns whether the reader of standard output is still there.
    fn take(&mut self, bytes: &[u8], line: &Line) -> Result<bool, CallError> {
        if let (Some((path, to)), Line::Told(event)) = (&mut self.pcap, line)
            && let Some((at, len, frame)) = event.captured()
        {
            match pcap::put(to, at, len, &frame) {
                Ok(()) => self.frames += 1,
                Err(error) if is_stdout(path) && error.kind() == ErrorKind::BrokenPipe => return Ok(false),
                Err(error) => return Err(unwritten(path, &error)),
            }
        }
        let text = if self.json { String::from_utf8_lossy(bytes).into_owned() } else { trace_line(line) };
        Ok(self.say(&text).is_ok())
    }

    /// Prints a line, unless standard output carries frames.
    fn say(&self, text: &str) -> io::Result<()> {
        if self.pcap.as_ref().is_some_and(|(path, _)| is_stdout(path)) {
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

fn unwritten(path: &Path, error: &io::Error) -> CallError {
    let text = format!("{}: cannot be written: {error}: give another file with --pcap", path.display());
    CallError::new(3, text)
}
