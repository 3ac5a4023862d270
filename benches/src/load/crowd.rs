//! [`Crowd`]: the viewers, what each does next, and what each got.
//!
//! | state | left by | goes to |
//! |---|---|---|
//! | connecting | the session is ready | joining |
//! | joining | the subscription is accepted | watching |
//! | watching | its time is over | gone, joining (moved), stalled |
//! | stalled | its time is over | recovering |
//! | recovering | an object of a group that began since | watching, without a claim to completeness |
//!
//! Limits: a viewer that is not served within [`PATIENCE`] is a failure.

use crate::Arguments;
use crate::shards::{Place, Seen, Shards};
use anyhow::Context;
use mainstem_benches::feed::Feed;
use mainstem_benches::histogram::Histogram;
use mainstem_benches::judge::{Judge, Verdict};
use mainstem_benches::random::Random;
use mainstem_core::moqt::subscriber::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a viewer may wait for its session, its subscription, or objects after a stall.
const PATIENCE: Duration = Duration::from_secs(20);
/// Kinds of failures that are told apart.
const FAILURES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Joining,
    Watching,
    Stalled,
    Recovering { from_group: u64 },
}

struct Viewer {
    feed: usize,
    state: State,
    key: Option<Key>,
    judge: Judge,
    /// When the next thing happens to it.
    at: Instant,
}

/// What happened to all viewers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) joins: u64,
    pub(crate) leaves: u64,
    pub(crate) vanishes: u64,
    pub(crate) moves: u64,
    pub(crate) stalls: u64,
    pub(crate) recoveries: u64,
    /// Subscriptions and sessions that the relay ended while their viewer did not read.
    pub(crate) stalled_ended: BTreeMap<String, u64>,
    /// What should not have happened, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) objects: u64,
    pub(crate) verdict: Verdict,
    pub(crate) delays: Histogram,
}

impl Tally {
    fn failed(&mut self, cause: String) {
        if self.failures.len() < FAILURES_MAX || self.failures.contains_key(&cause) {
            *self.failures.entry(cause).or_insert(0) += 1;
        }
    }
}

/// See the module's description.
pub(crate) struct Crowd {
    shards: Shards,
    random: Random,
    wanted: usize,
    stay: Duration,
    stall: Duration,
    weights: Vec<u32>,
    group_objects: u64,
    join_every: Duration,
    join_at: Instant,
    viewers: BTreeMap<Place, Viewer>,
    agenda: BTreeSet<(Instant, Place)>,
    tally: Tally,
}

impl Crowd {
    pub(crate) fn new(arguments: &Arguments, shards: Shards) -> Self {
        Self {
            shards,
            random: Random::new(arguments.seed),
            wanted: arguments.viewers,
            stay: Duration::from_secs_f64(arguments.stay),
            stall: Duration::from_secs_f64(arguments.stall),
            weights: arguments.weights.clone(),
            group_objects: arguments.group_objects,
            join_every: Duration::from_secs_f64(1.0 / arguments.joins_per_second.max(0.01)),
            join_at: Instant::now(),
            viewers: BTreeMap::new(),
            agenda: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} viewers, {} joins, {} objects, {} kinds of failures",
            self.viewers.len(),
            self.tally.joins,
            self.tally.objects,
            self.tally.failures.len()
        )
    }

    /// When [`Crowd::act`] is wanted.
    pub(crate) fn next_act(&self) -> Instant {
        let next = self.agenda.first().map(|(at, _)| *at);
        let join = (self.viewers.len() < self.wanted).then_some(self.join_at);
        let later = Instant::now() + Duration::from_secs(1);
        next.into_iter().chain(join).min().unwrap_or(later)
    }

    /// Lets viewers come, and those whose time is over do what they do.
    pub(crate) fn act(&mut self, feeds: &[Feed]) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.viewers.len() < self.wanted && self.join_at <= now {
            self.join_at = now + self.join_every;
            let shard = self.random.index(self.shards.len());
            let feed = self.random.index(feeds.len());
            self.join(shard, feed)?;
        }
        while let Some((at, place)) = self.agenda.first().copied() {
            if at > now {
                break;
            }
            self.agenda.pop_first();
            self.turn(place, feeds)?;
        }
        Ok(())
    }

    /// Takes what the viewers see until that time, and what is there already.
    pub(crate) fn listen(&mut self, until: Instant, feeds: &[Feed]) {
        while let Some((place, seen)) = self.shards.next_seen(until) {
            self.see(place, seen, feeds);
            if Instant::now() >= until {
                break;
            }
        }
    }

    /// Everybody leaves.
    pub(crate) fn disperse(&mut self, feeds: &[Feed]) {
        self.wanted = 0;
        let places: Vec<Place> = self.viewers.keys().copied().collect();
        for place in places {
            self.end(place, feeds);
            // A stopped shard has no sessions.
            let _ = self.shards.close(place);
        }
    }

    pub(crate) fn stop(self) -> Tally {
        self.shards.stop();
        self.tally
    }

    fn join(&mut self, shard: usize, feed: usize) -> anyhow::Result<()> {
        let session = self.shards.connect(shard)?;
        let at = Instant::now() + PATIENCE;
        let viewer = Viewer {
            feed,
            state: State::Connecting,
            key: None,
            judge: Judge::new(self.group_objects),
            at,
        };
        self.viewers.insert((shard, session), viewer);
        self.agenda.insert((at, (shard, session)));
        Ok(())
    }

    fn schedule(&mut self, place: Place, state: State, wait: Duration) {
        if let Some(viewer) = self.viewers.get_mut(&place) {
            self.agenda.remove(&(viewer.at, place));
            viewer.state = state;
            viewer.at = Instant::now() + wait;
            self.agenda.insert((viewer.at, place));
        }
    }

    /// A viewer's time is over.
    fn turn(&mut self, place: Place, feeds: &[Feed]) -> anyhow::Result<()> {
        let Some(viewer) = self.viewers.get_mut(&place) else {
            return Ok(());
        };
        let newest = feeds.get(viewer.feed).map_or(0, Feed::newest_group);
        match viewer.state {
            State::Watching => match self.random.weighted(&self.weights) {
                0 => {
                    self.tally.leaves += 1;
                    self.end(place, feeds);
                    self.shards.close(place)?;
                }
                1 => {
                    self.tally.vanishes += 1;
                    let feed = viewer.feed;
                    self.end(place, feeds);
                    self.shards.abandon(place)?;
                    self.join(place.0, feed)?;
                }
                2 => self.change_track(place, feeds)?,
                _ => {
                    self.tally.stalls += 1;
                    viewer.judge.forgive(newest);
                    self.shards.pause(place, true)?;
                    let wait = self.random.wait(self.stall);
                    self.schedule(place, State::Stalled, wait);
                }
            },
            State::Stalled => {
                self.shards.pause(place, false)?;
                let from_group = newest + 1;
                self.schedule(place, State::Recovering { from_group }, PATIENCE);
            }
            State::Connecting | State::Joining | State::Recovering { .. } => {
                let state = viewer.state;
                let name = self.shards.name(place.0);
                self.tally
                    .failed(format!("{name}: {state:?} for {PATIENCE:?}"));
                self.end(place, feeds);
                self.shards.abandon(place)?;
            }
        }
        Ok(())
    }

    fn change_track(&mut self, place: Place, feeds: &[Feed]) -> anyhow::Result<()> {
        self.tally.moves += 1;
        let next = self.random.index(feeds.len());
        let group_objects = self.group_objects;
        let Some(viewer) = self.viewers.get_mut(&place) else {
            return Ok(());
        };
        let judge = std::mem::replace(&mut viewer.judge, Judge::new(group_objects));
        let until = due_until(feeds, viewer.feed);
        viewer.feed = next;
        let key = viewer.key.take();
        self.tally.verdict.add(judge.finish(until));
        if let Some(key) = key {
            self.shards.unsubscribe(place.0, key)?;
        }
        self.subscribe(place, feeds)
    }

    fn subscribe(&mut self, place: Place, feeds: &[Feed]) -> anyhow::Result<()> {
        let Some(viewer) = self.viewers.get_mut(&place) else {
            return Ok(());
        };
        let feed = feeds.get(viewer.feed).context("no such feed")?;
        match self.shards.subscribe(place, feed.track().clone())? {
            Ok(key) => {
                viewer.key = Some(key);
                self.schedule(place, State::Joining, PATIENCE);
            }
            // The session ended in this moment; its news is under way.
            Err(error) => self.tally.failed(format!("cannot subscribe: {error}")),
        }
        Ok(())
    }

    /// A viewer is gone: what it got is judged.
    fn end(&mut self, place: Place, feeds: &[Feed]) {
        if let Some(viewer) = self.viewers.remove(&place) {
            self.agenda.remove(&(viewer.at, place));
            let until = due_until(feeds, viewer.feed);
            self.tally.verdict.add(viewer.judge.finish(until));
        }
    }

    fn see(&mut self, place: Place, seen: Seen, feeds: &[Feed]) {
        let Some(viewer) = self.viewers.get_mut(&place) else {
            return;
        };
        let is_its = |key: Key| viewer.key == Some(key);
        match seen {
            Seen::Ready => {
                if let Err(error) = self.subscribe(place, feeds) {
                    self.tally.failed(error.to_string());
                }
            }
            Seen::Accepted(key) if is_its(key) && viewer.state == State::Joining => {
                self.tally.joins += 1;
                let wait = self.random.wait(self.stay);
                self.schedule(place, State::Watching, wait);
            }
            Seen::Object(key, group, object, age) if is_its(key) => {
                self.tally.objects += 1;
                viewer.judge.arrived(group, object);
                match viewer.state {
                    State::Recovering { from_group } if group >= from_group => {
                        self.tally.recoveries += 1;
                        let wait = self.random.wait(self.stay);
                        self.schedule(place, State::Watching, wait);
                    }
                    State::Watching
                        if !viewer.judge.is_forgiven() && !viewer.judge.is_history(group) =>
                    {
                        self.tally.delays.add(age);
                    }
                    _ => {}
                }
            }
            Seen::Rejected(key, reason) | Seen::Ended(key, reason) if is_its(key) => {
                self.lost(place, &reason, feeds);
                let _ = self.shards.close(place);
            }
            Seen::Closed(reason) => self.lost(place, &reason, feeds),
            _ => {}
        }
    }

    /// The relay ended what a viewer had.
    fn lost(&mut self, place: Place, reason: &str, feeds: &[Feed]) {
        let state = self.viewers.get(&place).map(|viewer| viewer.state);
        self.end(place, feeds);
        let what = format!("{}: {reason}", self.shards.name(place.0));
        if matches!(state, Some(State::Stalled | State::Recovering { .. })) {
            *self.tally.stalled_ended.entry(what).or_insert(0) += 1;
        } else {
            self.tally.failed(format!("{state:?} {what}"));
        }
    }
}

/// Groups below were published whole a while ago.
fn due_until(feeds: &[Feed], feed: usize) -> u64 {
    feeds
        .get(feed)
        .map_or(0, |feed| feed.newest_group().saturating_sub(1))
}
