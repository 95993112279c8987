//! What has happened, in order: always hashed, on demand written down.

/// Events of one run.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(save: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, lines: save.then(Vec::new) }
    }

    /// Something has happened, with these numbers.
    pub(super) fn note(&mut self, now_ns: u64, what: &'static str, numbers: &[u64]) {
        self.word(now_ns);
        self.bytes(what.as_bytes());
        numbers.iter().for_each(|number| self.word(*number));
        if let Some(lines) = &mut self.lines {
            let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
            lines.push(format!("{:>14.6} ms  {what:<10} {}", now_ns as f64 / 1e6, numbers.join(" ")));
        }
    }

    /// These bytes were on the wire.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    pub(super) fn end(self) -> (u64, Vec<String>) {
        (self.hash, self.lines.unwrap_or_default())
    }

    fn word(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }
}
