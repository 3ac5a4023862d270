//! Handles: what C holds is a number, and never an address.
//!
//! A number is given out once in a process's life. NULL, numbers that were never given out or are closed,
//! and those of another kind of thing are found in no table, so no use after close is worse than none.
//!
//! Limits: those of what the handles stand for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where numbers begin: above what programs mistake for handles, such as small integers.
const FIRST: usize = 0x10_0010;
/// As far apart as addresses would be.
const STEP: usize = 0x10;

static NEXT: AtomicUsize = AtomicUsize::new(FIRST);

/// The open things of one kind.
pub(crate) struct Table<T> {
    by_handle: Mutex<BTreeMap<usize, Arc<T>>>,
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self {
            by_handle: Mutex::new(BTreeMap::new()),
        }
    }

    /// Gives it a number.
    pub(crate) fn insert(&self, value: T) -> usize {
        let handle = NEXT.fetch_add(STEP, Ordering::Relaxed);
        self.locked().insert(handle, Arc::new(value));
        handle
    }

    pub(crate) fn find(&self, handle: usize) -> Option<Arc<T>> {
        self.locked().get(&handle).cloned()
    }

    /// The number stands for nothing from now on.
    pub(crate) fn take(&self, handle: usize) -> Option<Arc<T>> {
        self.locked().remove(&handle)
    }

    /// Takes all that `is_wanted`.
    pub(crate) fn take_where(&self, is_wanted: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut taken = Vec::new();
        self.locked().retain(|_, value| {
            let is_wanted = is_wanted(value);
            if is_wanted {
                taken.push(Arc::clone(value));
            }
            !is_wanted
        });
        taken
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<T>>> {
        self.by_handle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_one_thing_until_it_is_taken() {
        let (one, other) = (Table::new(), Table::new());
        let first = one.insert("a");
        let second = other.insert("b");
        assert_ne!(first, second);
        assert!(one.find(second).is_none() && one.find(0).is_none());
        assert_eq!(*one.find(first).unwrap(), "a");
        assert!(one.take(first).is_some() && one.take(first).is_none());
        let third = one.insert("c");
        assert!(third > first && one.find(first).is_none());
        assert_eq!(one.take_where(|value| *value == "c").len(), 1);
        assert!(one.find(third).is_none());
    }
}
