//! The network: it delays, loses and repeats frames. On one link, first deliveries keep
//! their order and arrive before anything is resent, except for late ones. A request of
//! any kind may be late if it comes from a host whose tags show the order of its
//! requests, once the target has seen enough of them, and which is the only host writing
//! to its export: tags say nothing about what other hosts have written meanwhile.

use std::rc::Rc;

use super::super::history::{Ended, Op, What};
use super::super::initiator::Sending;
use super::{Copy, Event, Sent, Tag, World};
use crate::FakeTarget;

/// Maximum delay of a duplicate.
const DUPLICATE_MAX_NS: u64 = 40_000_000;
/// Maximum age of a replayed frame; together with the longest pause of a worker this
/// makes a second.
const REPLAY_MAX_NS: u64 = 700_000_000;
/// Maximum delay of a late first delivery.
const LATE_MAX_NS: u64 = 300_000_000;
/// Number of writes after which an old frame is no longer replayed.
const REPLAY_WRITES_MAX: usize = 1000;

impl World {
    /// A frame of an initiator enters the network.
    pub(super) fn send(&mut self, host: usize, sending: Sending) {
        let Sending { op, tag, lane, .. } = sending;
        let bytes = self.frame_of(host, sending);
        let unknown = || Tag { op, lane, delivered: 0, replies: 0, answered: false };
        self.tags.entry((host, tag)).or_insert_with(unknown);
        self.trace.note(self.now_ns, "send", &[host as u64, op.into(), tag.into(), lane as u64]);
        let (sent_ns, start, boot) = (self.now_ns, self.starts, self.hosts[host].boots);
        let sent = Rc::new(Sent { host, op, tag, lane, bytes, sent_ns, start, boot });
        let (loss, duplicates) = (self.scenario.network.loss, self.scenario.network.duplicates);
        if self.is_lost(host, loss) {
            self.marks.hit("request lost");
            return;
        }
        let what = self.ops[op as usize].what;
        let late_first = self.scenario.network.late_first;
        if self.may_be_late(host, what) && self.rng.hits(late_first) {
            // Delays most of them until they have been resent.
            let shortest_ns = self.rng.pick(&[1_000_000, 100_000_000, 100_000_000]);
            let at_ns = self.now_ns + self.rng.between(shortest_ns, LATE_MAX_NS);
            return self.at(at_ns, Event::ToLane { sent, copy: Copy::Late });
        }
        let delay_ns = self.delay_ns();
        let link = &mut self.hosts[host].to_lane_ns[lane];
        *link = (*link + 1).max(self.now_ns + delay_ns);
        let at_ns = *link;
        self.at(at_ns, Event::ToLane { sent: Rc::clone(&sent), copy: Copy::First });
        self.let_meet(host, op, at_ns);
        if self.rng.hits(duplicates) {
            let longest = self.rng.pick(&[50_000, DUPLICATE_MAX_NS]);
            let later_ns = at_ns + self.rng.between(1_000, longest);
            self.at(later_ns, Event::ToLane { sent: Rc::clone(&sent), copy: Copy::Duplicate });
        }
        self.replay();
        if matches!(what, What::Write | What::Discard | What::Set(_)) {
            self.past.push_back(sent);
            if self.past.len() > REPLAY_WRITES_MAX {
                self.past.pop_front();
            }
        }
    }

    /// Makes a late write arrive while a write that overlaps it is in flight.
    fn let_meet(&mut self, host: usize, op: u32, at_ns: u64) {
        let op = &self.ops[op as usize];
        let found = self.late_writes(host).find(|(_, late)| op.what == What::Write && late.overlaps(op));
        let Some(found) = found.map(|(key, _)| key) else { return };
        if self.rng.hits(5_000)
            && let Some(event) = self.events.remove(&found)
        {
            self.marks.hit("late first delivery beside a newer write");
            let later_ns = at_ns + self.rng.between(1_000, 300_000);
            self.at(later_ns, event);
        }
    }

    /// First deliveries of a host's writes that will arrive after their own resends.
    pub(super) fn late_writes(&self, host: usize) -> impl Iterator<Item = ((u64, u64), &Op)> {
        self.events.iter().filter_map(move |(key, event)| match event {
            Event::ToLane { sent, copy: Copy::Late } if sent.host == host => {
                let late = &self.ops[sent.op as usize];
                (late.ended == Ended::Good && late.what == What::Write).then_some((*key, late))
            }
            _ => None,
        })
    }

    /// Whether a first delivery may arrive later than what the host sends after it.
    fn may_be_late(&self, host: usize, what: What) -> bool {
        let linux = &self.hosts[host].linux;
        let alone = self.hosts.iter().filter(|other| other.linux.export == linux.export).count() == 1;
        let takes_turns = !linux.has_two_addresses() || self.scenario.initiators[host].window == 1;
        matches!(what, What::Read | What::Write | What::Discard)
            && alone
            && takes_turns
            && self.hosts[host].is_known()
    }

    /// Replays an old write.
    fn replay(&mut self) {
        if self.past.is_empty() || !self.rng.hits(self.scenario.network.replays) {
            return;
        }
        let sent = Rc::clone(&self.past[self.rng.below(self.past.len() as u64) as usize]);
        let at_ns = self.now_ns + self.rng.between(1_000, 300_000);
        self.at(at_ns, Event::ToLane { sent, copy: Copy::Replay });
    }

    /// A frame arrives at a lane.
    pub(super) fn deliver(&mut self, sent: &Sent, copy: Copy) {
        let numbers = [sent.host as u64, sent.op.into(), sent.tag.into(), copy as u64];
        if self.target.is_none() {
            self.marks.hit("request to a target that is down");
            return self.trace.note(self.now_ns, "nobody", &numbers);
        }
        let first = matches!(copy, Copy::First | Copy::Late);
        // Tags sent before a restart or reboot no longer show an order.
        let old = sent.start != self.starts || sent.boot != self.hosts[sent.host].boots;
        if !first && !self.may_come_again(sent) || copy != Copy::First && old {
            return;
        }
        let stamp = self.scenario.stamped[sent.lane].then_some(self.now_ns);
        let deliver = |target: &FakeTarget| target.deliver_at(sent.lane, &sent.bytes, stamp);
        let delivered = self.target.as_ref().is_some_and(deliver);
        self.trace.note(self.now_ns, if delivered { "arrive" } else { "overrun" }, &numbers);
        if !delivered {
            return self.marks.hit("ring full");
        }
        let Some(tag) = self.tags.get_mut(&(sent.host, sent.tag)) else { return };
        tag.delivered += 1;
        let ended = self.ops[sent.op as usize].ended != Ended::NotYet;
        match copy {
            Copy::First => {}
            Copy::Late if self.hosts[sent.host].linux.has_two_addresses() => {
                self.marks.hit("late first delivery, from a host with two addresses");
            }
            Copy::Late if ended => self.marks.hit("first delivery later than its resend"),
            Copy::Late => self.marks.hit("late first delivery"),
            Copy::Duplicate if tag.answered => self.marks.hit("duplicate of an answered request"),
            Copy::Duplicate => self.marks.hit("duplicate of a request under way"),
            Copy::Replay if matches!(self.ops[sent.op as usize].what, What::Set(_)) => {
                self.marks.hit("late copy of a set");
            }
            Copy::Replay => self.marks.hit("replay of an old write"),
        }
        let op = &mut self.ops[sent.op as usize];
        if !first && !tag.answered {
            op.copies += 1;
        }
        if (first || !tag.answered) && !op.in_service {
            op.in_service = true;
            op.served += 1;
        }
        self.wake(usize::from(self.scenario.lanes[sent.lane]));
    }

    /// Whether a copy of this frame may arrive now. It need not be recognized before the
    /// frame was answered: if the target has dropped the frame, its copy is just a late
    /// first delivery.
    fn may_come_again(&self, sent: &Sent) -> bool {
        let answered = self.tags.get(&(sent.host, sent.tag)).is_some_and(|tag| tag.answered);
        let under_way = self.ops[sent.op as usize].ended == Ended::NotYet;
        self.now_ns - sent.sent_ns < REPLAY_MAX_NS && (answered || under_way)
    }

    /// A reply leaves for an initiator.
    pub(super) fn send_back(&mut self, host: usize, lane: usize, frame: Vec<u8>) {
        let (loss, duplicates) = (self.scenario.network.reply_loss, self.scenario.network.reply_duplicates);
        if self.is_lost(host, loss) {
            return self.marks.hit("reply lost");
        }
        let delay_ns = self.delay_ns();
        let link = &mut self.hosts[host].from_lane_ns[lane];
        *link = (*link + 1).max(self.now_ns + delay_ns);
        let (at_ns, frame) = (*link, Rc::<[u8]>::from(frame));
        self.at(at_ns, Event::ToHost { host, frame: Rc::clone(&frame) });
        if self.rng.hits(duplicates) {
            self.marks.hit("reply duplicated");
            let later_ns = at_ns + self.rng.between(1_000, DUPLICATE_MAX_NS);
            self.at(later_ns, Event::ToHost { host, frame });
        }
    }

    /// Longest delay, in microseconds, of a frame, of its reply, and of the worker turns
    /// in between: nothing is resent sooner.
    pub(super) fn timeout_min_us(&self) -> u64 {
        1_000 + 4 * self.scenario.network.delay_max_ns / 1_000
    }

    fn delay_ns(&mut self) -> u64 {
        let longest = self.scenario.network.delay_max_ns;
        self.rng.between(longest / 4, longest)
    }

    fn is_lost(&mut self, host: usize, rate: u32) -> bool {
        if self.rng.hits(self.scenario.network.burst) {
            self.marks.hit("burst of losses");
            self.hosts[host].silent_until_ns = self.now_ns + self.rng.between(1_000_000, 30_000_000);
        }
        self.now_ns < self.hosts[host].silent_until_ns || self.rng.hits(rate)
    }
}
