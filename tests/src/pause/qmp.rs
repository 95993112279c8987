//! Controls a VM through QEMU's own protocol (QMP).

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The connection to a running QEMU.
#[derive(Debug)]
pub struct Qmp(RefCell<BufReader<UnixStream>>);

impl Qmp {
    /// Connects to its socket.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let qmp = Self(RefCell::new(BufReader::new(UnixStream::connect(path)?)));
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Executes a command without arguments. Returns the line with the reply.
    pub fn execute(&self, command: &str) -> io::Result<String> {
        let mut line = self.0.borrow_mut();
        writeln!(line.get_mut(), r#"{{"execute": "{command}"}}"#)?;
        loop {
            let mut answer = String::new();
            if line.read_line(&mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if answer.contains(r#""error""#) {
                return Err(io::Error::other(answer));
            }
            // Other lines are events and the greeting.
            if answer.contains(r#""return""#) {
                return Ok(answer);
            }
        }
    }

    /// The threads of its processors, in order.
    pub fn processors(&self) -> io::Result<Vec<i32>> {
        let answer = self.execute("query-cpus-fast")?;
        // Each entry also contains the number of its thread within a core of the VM.
        let numbers = answer.split(r#"{"thread-id":"#).skip(1);
        let number = |text: &str| text.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
        Ok(numbers.filter_map(number).collect())
    }
}
