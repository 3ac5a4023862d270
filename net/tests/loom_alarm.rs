//! The alarm of a shard under every interleaving of its threads, and every order of memory that the
//! language allows.
//!
//! The file that ships is built here once more, on [`loom`]'s atomics. Around it stand a queue and a
//! sleep that promise as little as they may: what is put into the queue is published by a release
//! and looked for by an acquire and nothing else, so that whatever order there is between commands
//! and sleep is the alarm's own doing. A wake-up that is lost is a deadlock, which loom reports.
//!
//! The other atomics of the workspace are single values that nobody orders anything by: figures
//! (`engine/src/metrics.rs`, `relay/src/event_log.rs`), the time (`quic/src/clock.rs`), flags to
//! stop (`engine/src/publish`), and what is known of an encoder (`engine/src/inputs.rs`), whose
//! take-over is decided under a lock. The queue between threads and shard is the standard library's.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is a test's way of speaking"
)]

#[path = "../src/alarm.rs"]
mod alarm;

/// What the alarm is built on.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
}

use alarm::Alarm;
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A sleep that a wake ends, present or next; as an event file descriptor is.
struct Sleep {
    is_woken: Mutex<bool>,
    woken: Condvar,
    wakes: AtomicUsize,
}

impl Sleep {
    fn wake(&self) {
        self.wakes.fetch_add(1, Relaxed);
        *self.is_woken.lock().unwrap() = true;
        self.woken.notify_one();
    }

    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = self.woken.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
}

/// A place in a queue for each command.
struct World<W> {
    places: Vec<atomic::AtomicBool>,
    sleep: Arc<Sleep>,
    alarm: Alarm<W>,
}

fn world(commands: usize) -> Arc<World<impl Fn()>> {
    let sleep = Arc::new(Sleep {
        is_woken: Mutex::new(false),
        woken: Condvar::new(),
        wakes: AtomicUsize::new(0),
    });
    let waker = Arc::clone(&sleep);
    Arc::new(World {
        places: (0..commands)
            .map(|_| atomic::AtomicBool::new(false))
            .collect(),
        sleep,
        alarm: Alarm::new(move || waker.wake()),
    })
}

impl<W: Fn()> World<W> {
    fn command(&self, place: usize) {
        self.places[place].store(true, Release);
        self.alarm.ring();
    }

    /// Takes out what is there; how much that was.
    fn turn(&self, taken: &mut [bool]) {
        self.alarm.reset();
        for (place, taken) in self.places.iter().zip(taken) {
            *taken |= place.load(Acquire);
        }
    }

    /// Works until everything was taken, sleeping in between; the number of turns.
    fn work(&self) -> usize {
        let mut taken = vec![false; self.places.len()];
        let mut turns = 1;
        self.turn(&mut taken);
        while taken.contains(&false) {
            self.sleep.sleep();
            self.turn(&mut taken);
            turns += 1;
        }
        turns
    }
}

/// The second command comes while the ring of the first may still hold.
#[test]
fn no_command_waits_for_a_thread_that_sleeps() {
    loom::model(|| {
        let world = world(2);
        let commander = Arc::clone(&world);
        let commander = thread::spawn(move || {
            commander.command(0);
            commander.command(1);
        });
        let turns = world.work();
        commander.join().unwrap();
        // Each reset allows one wake.
        assert!(world.sleep.wakes.load(Relaxed) <= turns + 1);
    });
}

/// Of two threads that command, one finds the alarm rung by the other.
#[test]
fn no_command_is_lost_behind_the_ring_of_another_thread() {
    let mut model = loom::model::Builder::new();
    // Every fault of two threads needs fewer; more take minutes.
    model.preemption_bound = Some(3);
    model.check(|| {
        let world = world(2);
        let commanders: Vec<_> = (0..2)
            .map(|place| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.command(place))
            })
            .collect();
        let turns = world.work();
        for commander in commanders {
            commander.join().unwrap();
        }
        assert!(world.sleep.wakes.load(Relaxed) <= turns + 1);
    });
}

#[test]
fn any_number_of_commands_wakes_once_until_the_thread_has_looked() {
    loom::model(|| {
        let world = world(3);
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.command(thread);
                    world.command(thread);
                })
            })
            .collect();
        world.command(2);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(world.sleep.wakes.load(Relaxed), 1);
        assert_eq!(world.work(), 1, "one look finds them all");
    });
}
