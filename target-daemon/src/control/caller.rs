//! Who sent a request, and the deadline of its connection.

use std::future::Future;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::stream::Descriptors;
use crate::privilege;

/// How often to check whether the deadline has moved closer.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The sender of a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For the log: "uid 0, process 4711".
    pub who: String,
    /// Whether it may change something; everybody who may connect may look.
    pub may_change: bool,
    /// The descriptors that it hands over.
    pub descriptors: Descriptors,
    /// The deadline of its connection.
    pub deadline: Deadline,
}

impl Caller {
    /// The process that has connected to the control socket. Root, the user of this process and
    /// the members of the group `admins` may change something.
    pub fn of(stream: &UnixStream, admins: Option<u32>, deadline: Deadline) -> Self {
        let descriptors = Descriptors::default();
        let Ok(peer) = stream.peer_cred() else {
            return Self { who: "somebody".to_owned(), may_change: false, descriptors, deadline };
        };
        let is_member = |group: u32| {
            peer.gid() == group
                || privilege::groups_of_peer(stream.as_fd()).is_ok_and(|groups| groups.contains(&group))
        };
        let is_owner = [0, rustix::process::geteuid().as_raw()].contains(&peer.uid());
        let who = format!("uid {}, process {}", peer.uid(), peer.pid().unwrap_or(0));
        Self { who, may_change: is_owner || admins.is_some_and(is_member), descriptors, deadline }
    }
}

/// The deadline of a connection. A stream extends it as long as the client keeps reading.
#[derive(Clone, Debug)]
pub struct Deadline(watch::Sender<Instant>);

impl Deadline {
    /// A deadline `time` from now.
    pub fn after(time: Duration) -> Self {
        Self(watch::Sender::new(Instant::now() + time))
    }

    /// Moves the deadline to `time` from now. A deadline moved closer may be noticed 5 s
    /// late.
    pub fn set(&self, time: Duration) {
        self.0.send_replace(Instant::now() + time);
    }

    /// The current deadline.
    pub fn when(&self) -> Instant {
        *self.0.borrow()
    }

    /// Returns the output of the future, or `None` if it does not complete by the
    /// deadline.
    pub async fn within<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(future);
        loop {
            let look = self.when().min(Instant::now() + LOOK_EVERY);
            match timeout_at(look, &mut future).await {
                Ok(outcome) => return Some(outcome),
                Err(_) if self.when() > Instant::now() => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_deadline_ends_what_does_not_move_it() {
        let ended = run(async { Deadline::after(SOON).within(std::future::pending::<()>()).await });
        assert_eq!(ended, None);
    }

    #[test]
    fn a_deadline_that_is_moved_on_ends_nothing() {
        let ended = run(async {
            let deadline = Deadline::after(SOON);
            let stream = async {
                deadline.set(Duration::from_secs(600));
                tokio::time::sleep(3 * SOON).await;
                deadline.set(Duration::from_secs(600));
                7
            };
            deadline.within(stream).await
        });
        assert_eq!(ended, Some(7));
    }
}
