//! Time that passes inside a turn.
//!
//! In its turn a worker reads the clock and its stores call the disk's I/O engine. At
//! each of these points the thread may lose its core. So the world is stored where these
//! calls can find it, and continues from there: frames arrive, other workers have turns,
//! hosts receive replies and send more, until the worker gets its core back. A worker
//! that loses its core meanwhile gets it back first.

use std::cell::RefCell;

use xblade::store::disk::{IoEngine, IoRequest, IoResult, QueueFull};
use xblade::worker::Clock;
use xblade_sim::disk::SimEngine;

use super::{EVENTS_MAX, World};

thread_local! {
    /// The world, while a worker is inside a turn.
    static WORLD: RefCell<Option<Box<World>>> = const { RefCell::new(None) };
}

/// The clock of the workers.
struct SimClock;

impl Clock for SimClock {
    fn now_ns(&self) -> u64 {
        time_may_pass();
        WORLD.with_borrow(|world| world.as_ref().map_or(0, |world| world.now_ns))
    }
}

/// The I/O engine of a disk, in which time passes, too.
#[derive(Debug)]
pub(super) struct SlowKernel(pub(super) SimEngine);

impl IoEngine for SlowKernel {
    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull> {
        time_may_pass();
        self.0.push(id, call)
    }

    fn submit(&mut self) {
        time_may_pass();
        self.0.submit();
    }

    fn next(&mut self) -> Option<(u32, IoResult)> {
        self.0.next()
    }

    fn end(&self) -> u64 {
        time_may_pass();
        self.0.end()
    }

    fn goes_on(&self) -> bool {
        self.0.goes_on()
    }

    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

/// Runs all events and turns until everything is done.
pub(super) fn play(mut world: Box<World>) -> Box<World> {
    // A run that panicked leaves its world behind.
    WORLD.take();
    loop {
        if world.issuers == 0 && !world.resting {
            world.rest();
        }
        if world.failed.is_some() || world.resting && world.is_at_rest() {
            return world;
        }
        match world.next() {
            Some((at_ns, next)) => world = step(world, at_ns, next),
            None => world.failed = Some("nothing is left to happen".to_owned()),
        }
    }
}

/// What happens next.
#[derive(Clone, Copy)]
enum Next {
    Event,
    Turn(usize),
}

impl World {
    fn next(&self) -> Option<(u64, Next)> {
        let event = self.events.first_key_value().map(|((at, _), _)| (*at, Next::Event));
        let ready = (0..self.workers.len()).filter(|worker| self.workers[*worker].is_some());
        let turn = ready.map(|worker| (self.turns[worker].next_ns, Next::Turn(worker)));
        let turn = turn.min_by_key(|(at, _)| *at).filter(|(at, _)| *at < u64::MAX);
        match (event, turn) {
            (Some(event), Some(turn)) => Some(if turn.0 < event.0 { turn } else { event }),
            (event, turn) => event.or(turn),
        }
    }

    /// How long the thread loses its core at such a point, if it does.
    fn draw_inside(&mut self) -> Option<u64> {
        let rate = self.scenario.inside;
        if self.resting || !self.rng.hits(rate) {
            return None;
        }
        let short = self.rng.hits(5_000);
        Some(if short { self.rng.between(1_000, 50_000) } else { self.draw_pause() })
    }
}

fn step(mut world: Box<World>, at_ns: u64, next: Next) -> Box<World> {
    world.steps += 1;
    if world.steps > EVENTS_MAX {
        world.failed = Some(format!("it does not come to rest: {}", world.tell_unrest()));
        return world;
    }
    world.now_ns = world.now_ns.max(at_ns);
    let result = match next {
        Next::Turn(worker) => return turn(world, worker),
        Next::Event => match world.events.pop_first() {
            Some((_, event)) => world.handle(event),
            None => Ok(()),
        },
    };
    world.failed = result.err();
    world
}

fn turn(mut world: Box<World>, index: usize) -> Box<World> {
    let Some(mut worker) = world.workers[index].take() else { return world };
    world.advance_disks();
    // What arrives meanwhile wakes it.
    world.turns[index].next_ns = u64::MAX;
    let start = world.starts;
    WORLD.set(Some(world));
    let work = worker.turn(&SimClock);
    let mut world = WORLD.take().expect("the world");
    if world.starts != start || world.target.is_none() {
        // It was killed inside its turn.
        world.marks.hit("crash inside a turn");
        world.count(&worker);
        return world;
    }
    if world.failed.is_none() {
        world.failed = world.after_turn(index, &mut worker, work).err();
    }
    world.workers[index] = Some(worker);
    world
}

/// The worker inside its turn may lose its core here.
fn time_may_pass() {
    let Some(mut world) = WORLD.take() else { return };
    if world.failed.is_none()
        && let Some(pause_ns) = world.draw_inside()
    {
        world = pass(world, pause_ns);
    }
    WORLD.set(Some(world));
}

fn pass(mut world: Box<World>, pause_ns: u64) -> Box<World> {
    let until_ns = world.now_ns + pause_ns;
    world.trace.note(world.now_ns, "inside", &[pause_ns]);
    world.marks.hit("pause inside a turn");
    // The worker may have notified others.
    world.wake_all();
    while world.failed.is_none()
        && let Some((at_ns, next)) = world.next()
        && at_ns <= until_ns
    {
        world = step(world, at_ns, next);
    }
    world.now_ns = world.now_ns.max(until_ns);
    world.advance_disks();
    world
}
