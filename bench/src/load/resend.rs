//! When an unanswered request is resent.

/// The timeout doubles with each attempt, at most this many times.
const DOUBLINGS: u32 = 4;
/// How often the Linux initiator checks for overdue requests.
const LINUX_TICK_NS: u64 = 100_000_000;

/// A resend strategy.
#[derive(Clone, Debug)]
pub enum Resend {
    /// After a timeout that doubles with each attempt.
    Doubling {
        /// The initial timeout.
        timeout_ns: u64,
    },
    /// As the Linux initiator does it.
    Linux(Linux),
}

/// The state of the Linux initiator for one target. Moving averages of the round-trip
/// time and of its deviation determine when a reply is overdue, and each overdue reply
/// shrinks the window.
#[derive(Clone, Debug)]
pub struct Linux {
    average_ns: f64,
    deviation_ns: f64,
    /// The current window.
    allowed: usize,
    /// The maximum window.
    most: usize,
    /// The window up to which it grows fast.
    threshold: usize,
    /// Replies until it grows by one beyond that.
    until_growth: usize,
    look_at_ns: u64,
}

impl Linux {
    /// The state after discovery of the target.
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
    /// The current window.
    pub fn allowed(&self) -> usize {
        match self {
            Self::Doubling { .. } => usize::MAX,
            Self::Linux(linux) => linux.allowed,
        }
    }

    /// Whether it is time to check for overdue requests.
    pub fn looks(&mut self, now_ns: u64) -> bool {
        let Self::Linux(linux) = self else { return true };
        let looks = now_ns >= linux.look_at_ns;
        if looks {
            linux.look_at_ns = now_ns + LINUX_TICK_NS;
        }
        looks
    }

    /// The timeout after the last copy.
    pub fn patience_ns(&self, tries: u32) -> u64 {
        match self {
            Self::Doubling { timeout_ns } => timeout_ns << tries.min(DOUBLINGS),
            Self::Linux(linux) => linux.overdue_after_ns(),
        }
    }

    /// Records an answer to the newest copy of a request.
    pub fn answered(&mut self, after_ns: u64) {
        if let Self::Linux(linux) = self {
            linux.took(after_ns);
            linux.grow();
        }
    }

    /// Records an answer to an earlier copy.
    pub fn answered_late(&mut self, after_ns: u64) {
        if let Self::Linux(linux) = self {
            linux.took(after_ns);
        }
    }

    /// Records an overdue reply.
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
        // Timeouts after these numbers of replies in 100 us, from a simulation of the
        // driver.
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
