//! When a request that was not answered is sent again.

/// The wait for a reply doubles with each attempt, this often.
const DOUBLINGS: u32 = 4;
/// The Linux initiator looks for overdue requests this often.
const LINUX_TICK_NS: u64 = 100_000_000;

/// A way of sending again.
#[derive(Clone, Debug)]
pub enum Resend {
    /// After a fixed time, which doubles with each attempt.
    Doubling {
        /// The time.
        timeout_ns: u64,
    },
    /// As the Linux initiator does it.
    Linux(Linux),
}

/// The state of the Linux initiator for one target: a moving average of the
/// round-trip time and of its deviation say when a reply is overdue, and each
/// reply that is overdue makes the window small.
#[derive(Clone, Debug)]
pub struct Linux {
    average_ns: f64,
    deviation_ns: f64,
    /// Requests that may be in flight now,
    allowed: usize,
    /// at most,
    most: usize,
    /// and up to which number it grows fast.
    threshold: usize,
    /// Replies until it grows by one, beyond that.
    until_growth: usize,
    look_at_ns: u64,
}

impl Linux {
    /// As after the target has been found.
    pub fn new(window: u16) -> Self {
        let most = usize::from(window).max(1);
        Self {
            average_ns: 0.25e9,
            deviation_ns: 2e9,
            allowed: (most / 2).max(1),
            most,
            threshold: most / 2,
            until_growth: 0,
            look_at_ns: 0,
        }
    }

    fn overdue_after_ns(&self) -> u64 {
        (2.0 * self.average_ns + 8.0 * self.deviation_ns).max(1e3) as u64
    }

    fn took(&mut self, ns: u64) {
        let error = ns as f64 - self.average_ns;
        self.average_ns += error / 256.0;
        self.deviation_ns += (error.abs() - self.deviation_ns) / 8.0;
    }

    fn grow(&mut self) {
        if self.allowed < self.threshold {
            self.allowed += 1;
        } else if self.until_growth > 0 {
            self.until_growth -= 1;
        } else if self.allowed < self.most {
            self.allowed += 1;
            self.until_growth = self.allowed;
        }
    }

    fn shrink(&mut self) {
        if self.allowed > 1 {
            (self.threshold, self.allowed) = (self.allowed / 2, 1);
        }
    }
}

impl Resend {
    /// Requests that may be in flight.
    pub fn allowed(&self) -> usize {
        match self {
            Self::Doubling { .. } => usize::MAX,
            Self::Linux(linux) => linux.allowed,
        }
    }

    /// Whether it is time to look for overdue requests.
    pub fn looks(&mut self, now_ns: u64) -> bool {
        let Self::Linux(linux) = self else { return true };
        let looks = now_ns >= linux.look_at_ns;
        if looks {
            linux.look_at_ns = now_ns + LINUX_TICK_NS;
        }
        looks
    }

    /// How long to wait for a reply to the last copy.
    pub fn patience_ns(&self, tries: u32) -> u64 {
        match self {
            Self::Doubling { timeout_ns } => timeout_ns << tries.min(DOUBLINGS),
            Self::Linux(linux) => linux.overdue_after_ns(),
        }
    }

    /// The newest copy of a request was answered.
    pub fn answered(&mut self, after_ns: u64) {
        if let Self::Linux(linux) = self {
            linux.took(after_ns);
            linux.grow();
        }
    }

    /// An earlier copy was answered.
    pub fn answered_late(&mut self, after_ns: u64) {
        if let Self::Linux(linux) = self {
            linux.took(after_ns);
        }
    }

    /// A reply is overdue.
    pub fn missed(&mut self) {
        if let Self::Linux(linux) = self {
            linux.shrink();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_falls_with_replies_as_in_linux() {
        let mut linux = Linux::new(64);
        // Seconds after so many replies in 100 us, from a simulation of the driver.
        let mut replies = 0;
        for (after, seconds) in
            [(0, 16.5), (1, 14.7), (10, 6.1), (100, 1.73), (256, 0.94), (500, 0.36), (1000, 0.051)]
        {
            while replies < after {
                linux.took(100_000);
                replies += 1;
            }
            let got = linux.overdue_after_ns() as f64 / 1e9;
            assert!((got / seconds - 1.0).abs() < 0.05, "after {after}: {got} s, not {seconds}");
        }
    }

    #[test]
    fn one_overdue_reply_makes_the_window_small_and_replies_make_it_grow() {
        let mut resend = Resend::Linux(Linux::new(64));
        assert_eq!(resend.allowed(), 32);
        resend.missed();
        resend.missed();
        assert_eq!(resend.allowed(), 1);
        (0..15).for_each(|_| resend.answered(1000));
        assert_eq!(resend.allowed(), 16, "fast, to half of what it was");
        (0..17).for_each(|_| resend.answered(1000));
        assert_eq!(resend.allowed(), 17, "then by one for each window of replies");
        (0..10_000).for_each(|_| resend.answered(1000));
        assert_eq!(resend.allowed(), 64);
    }

    #[test]
    fn linux_looks_ten_times_a_second() {
        let mut resend = Resend::Linux(Linux::new(64));
        let looks = (0..1000).filter(|ms| resend.looks(ms * 1_000_000)).count();
        assert_eq!(looks, 10);
    }
}
