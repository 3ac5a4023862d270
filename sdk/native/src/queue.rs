//! What waits for a client's callbacks: bounded, and dropped by whole groups.
//!
//! The shard's thread puts in and never waits. When the owner's callbacks are slower than what comes,
//! objects of a subscription are dropped until its next group begins, so that a decoder can go on there.
//!
//! Limits: [`QUEUE_LEN_MAX`] and [`QUEUE_BYTES_MAX`] for objects. All else that happens is rare, bounded by
//! the machine's sessions and subscriptions, and never dropped.

use mainstem_core::moqt::participant::{Event, SubscriptionId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Objects that may wait for one client's callbacks.
pub const QUEUE_LEN_MAX: usize = 16_384;
/// Bytes of objects that may wait for one client's callbacks.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Event>,
    objects: usize,
    bytes: usize,
    /// Which group of a subscription is being dropped.
    dropping: BTreeMap<SubscriptionId, u64>,
    dropped: u64,
    is_woken: bool,
}

/// What [`Queue::pop`] came back with.
#[derive(Debug)]
pub(crate) enum Popped {
    Event(Box<Event>),
    /// [`Queue::wake`] was called.
    Woken,
    /// The deadline came.
    TimedOut,
}

impl Queue {
    /// Puts an event in, or drops it.
    pub(crate) fn push(&self, event: Event) {
        if self.inner().push(event) {
            self.changed.notify_one();
        }
    }

    /// Has the next [`Queue::pop`] return at once.
    pub(crate) fn wake(&self) {
        self.inner().is_woken = true;
        self.changed.notify_one();
    }

    /// The next event; waits for it until `deadline`. A call to wake goes before all events.
    pub(crate) fn pop(&self, deadline: Option<Instant>) -> Popped {
        let mut inner = self.inner();
        loop {
            if std::mem::take(&mut inner.is_woken) {
                return Popped::Woken;
            }
            if let Some(event) = inner.pop() {
                return Popped::Event(Box::new(event));
            }
            inner = match deadline {
                None => self
                    .changed
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Popped::TimedOut;
                    }
                    let waited = self.changed.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Objects that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.inner().dropped
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, event: Event) -> bool {
        if let Event::Object {
            subscription,
            object,
        } = &event
        {
            let is_dropping = self.dropping.get(subscription) == Some(&object.group);
            let bytes = self.bytes.saturating_add(object.payload.len());
            if is_dropping || self.objects >= QUEUE_LEN_MAX || bytes > QUEUE_BYTES_MAX {
                self.dropping.insert(*subscription, object.group);
                self.dropped = self.dropped.saturating_add(1);
                return false;
            }
            self.dropping.remove(subscription);
            self.objects += 1;
            self.bytes = bytes;
        }
        self.events.push_back(event);
        true
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Object { object, .. } = &event {
            self.objects = self.objects.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(object.payload.len());
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mainstem_core::moqt::object::Object;

    fn object(group: u64, id: u64, bytes: usize) -> Event {
        Event::Object {
            subscription: SubscriptionId(1),
            object: Object {
                group,
                object: id,
                payload: Bytes::from(vec![0; bytes]).into(),
                ..Object::default()
            },
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_up_to_the_next_group() {
        let queue = Queue::default();
        let half = QUEUE_BYTES_MAX / 2;
        queue.push(object(1, 0, half));
        queue.push(object(1, 1, half));
        queue.push(object(1, 2, 1));
        assert!(matches!(queue.pop(None), Popped::Event(_)));
        // There is room again, but nobody can decode the rest of the group.
        queue.push(object(1, 3, 1));
        queue.push(object(2, 0, 1));
        assert_eq!(queue.dropped(), 2);
        let mut places = Vec::new();
        while let Popped::Event(event) = queue.pop(Some(Instant::now())) {
            if let Event::Object { object, .. } = *event {
                places.push((object.group, object.object));
            }
        }
        assert_eq!(places, [(1, 1), (2, 0)]);
        let inner = queue.inner();
        assert_eq!((inner.objects, inner.bytes), (0, 0));
    }

    #[test]
    fn a_call_to_wake_goes_before_events() {
        let queue = Queue::default();
        queue.push(object(1, 0, 1));
        queue.wake();
        assert!(matches!(queue.pop(None), Popped::Woken));
        assert!(matches!(queue.pop(None), Popped::Event(_)));
        assert!(matches!(queue.pop(Some(Instant::now())), Popped::TimedOut));
    }
}
