//! The sorted vectors do what the standard library's B-trees do.

use super::compact;
use proptest::prelude::*;
use std::collections;
use std::ops::Bound;

/// One operation on a map. Keys are few, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u16),
    Remove(u8),
    RemoveEntry(u8),
    PopFirst,
    PopLast,
    EntryOr(u8, u16),
    EntryModify(u8, u16),
    EntryMatch(u8, u16),
    GetMut(u8, u16),
    Range(Bound<u8>, Bound<u8>),
    RangeMut(Bound<u8>, Bound<u8>),
    ExtractIf(Bound<u8>, Bound<u8>, u16),
    SplitOff(u8),
    Retain(u16),
    Extend(Vec<(u8, u16)>),
    IterMut(u16),
    Clear,
}

fn key() -> impl Strategy<Value = u8> {
    0u8..24
}

fn bound() -> impl Strategy<Value = Bound<u8>> {
    prop_oneof![
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

/// Bounds that the standard library takes: it panics at a range that ends before it begins.
fn bounds() -> impl Strategy<Value = (Bound<u8>, Bound<u8>)> {
    (bound(), bound()).prop_filter("begins before it ends", |bounds| match bounds {
        (Bound::Excluded(from), Bound::Excluded(to)) => from < to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from <= to,
        _ => true,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let value = any::<u16>;
    prop_oneof![
        8 => (key(), value()).prop_map(|(k, v)| Step::Insert(k, v)),
        3 => key().prop_map(Step::Remove),
        1 => key().prop_map(Step::RemoveEntry),
        1 => Just(Step::PopFirst),
        1 => Just(Step::PopLast),
        2 => (key(), value()).prop_map(|(k, v)| Step::EntryOr(k, v)),
        2 => (key(), value()).prop_map(|(k, v)| Step::EntryModify(k, v)),
        2 => (key(), value()).prop_map(|(k, v)| Step::EntryMatch(k, v)),
        2 => (key(), value()).prop_map(|(k, v)| Step::GetMut(k, v)),
        2 => bounds().prop_map(|(from, to)| Step::Range(from, to)),
        2 => bounds().prop_map(|(from, to)| Step::RangeMut(from, to)),
        1 => (bounds(), value()).prop_map(|((from, to), v)| Step::ExtractIf(from, to, v)),
        1 => key().prop_map(Step::SplitOff),
        1 => value().prop_map(Step::Retain),
        1 => proptest::collection::vec((key(), value()), 0..8).prop_map(Step::Extend),
        1 => value().prop_map(Step::IterMut),
        1 => Just(Step::Clear),
    ]
}

/// Does one operation on either map; what can be seen of it.
macro_rules! perform {
    ($map:expr, $step:expr, $entry:ident) => {
        match $step.clone() {
            Step::Insert(key, value) => format!("{:?}", $map.insert(key, value)),
            Step::Remove(key) => format!("{:?}", $map.remove(&key)),
            Step::RemoveEntry(key) => format!("{:?}", $map.remove_entry(&key)),
            Step::PopFirst => format!("{:?}", $map.pop_first()),
            Step::PopLast => format!("{:?}", $map.pop_last()),
            Step::EntryOr(key, value) => format!("{:?}", $map.entry(key).or_insert(value)),
            Step::EntryModify(key, value) => {
                let entry = $map.entry(key).and_modify(|it| *it ^= value);
                format!("{:?}", entry.or_default())
            }
            Step::EntryMatch(key, value) => match $map.entry(key) {
                $entry::Entry::Occupied(mut entry) if value % 2 == 0 => {
                    let before = *entry.get();
                    format!("{before} {} {}", entry.insert(value), entry.get())
                }
                $entry::Entry::Occupied(entry) => format!("{}", entry.remove()),
                $entry::Entry::Vacant(entry) => format!("new {}", entry.insert(value)),
            },
            Step::GetMut(key, value) => {
                if let Some(it) = $map.get_mut(&key) {
                    *it = value;
                }
                format!("{:?} {}", $map.get(&key), $map.contains_key(&key))
            }
            Step::Range(from, to) => {
                let forth: Vec<_> = $map.range((from, to)).collect();
                let back: Vec<_> = $map.range((from, to)).rev().collect();
                format!("{forth:?} {back:?}")
            }
            Step::RangeMut(from, to) => {
                let range = $map.range_mut((from, to));
                let seen = range.map(|(key, value)| {
                    *value = value.wrapping_add(1);
                    (*key, *value)
                });
                format!("{:?}", seen.collect::<Vec<_>>())
            }
            Step::ExtractIf(from, to, mask) => {
                let taken = $map.extract_if((from, to), |_, value| *value & mask == 0);
                format!("{:?}", taken.collect::<Vec<_>>())
            }
            Step::SplitOff(key) => format!("{:?}", $map.split_off(&key)),
            Step::Retain(mask) => {
                $map.retain(|key, value| {
                    *value ^= 1;
                    u16::from(*key) & mask != 0
                });
                String::new()
            }
            Step::Extend(entries) => {
                $map.extend(entries);
                String::new()
            }
            Step::IterMut(change) => {
                for (_, value) in $map.iter_mut() {
                    *value ^= change;
                }
                for value in $map.values_mut() {
                    *value = value.rotate_left(1);
                }
                String::new()
            }
            Step::Clear => {
                $map.clear();
                String::new()
            }
        }
    };
}

/// Everything that can be asked of a map without changing it.
macro_rules! look {
    ($map:expr) => {{
        let back: Vec<_> = $map.iter().rev().collect();
        let keys: Vec<_> = $map.keys().collect();
        let values: Vec<_> = $map.values().collect();
        let ends = ($map.first_key_value(), $map.last_key_value());
        let sizes = ($map.len(), $map.is_empty());
        format!("{:?} {back:?} {keys:?} {values:?} {ends:?} {sizes:?}", $map)
    }};
}

proptest! {
    #[test]
    fn a_compact_map_does_what_the_standard_librarys_does(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        use collections::btree_map as std_map;
        use compact::btree_map as own_map;
        let mut theirs = collections::BTreeMap::<u8, u16>::new();
        let mut ours = compact::BTreeMap::<u8, u16>::new();
        for step in &steps {
            prop_assert_eq!(perform!(theirs, step, std_map), perform!(ours, step, own_map));
            prop_assert_eq!(look!(theirs), look!(ours));
        }
        let again: compact::BTreeMap<u8, u16> = theirs.clone().into_iter().rev().collect();
        prop_assert_eq!(&again, &ours);
        let (keys, values) = (theirs.clone().into_keys(), theirs.into_values());
        prop_assert!(keys.eq(ours.clone().into_keys()));
        prop_assert!(values.eq(ours.into_values()));
    }

    #[test]
    fn a_compact_set_does_what_the_standard_librarys_does(
        one in proptest::collection::vec(key(), 0..40),
        other in proptest::collection::vec(key(), 0..40),
        at in key(),
        (from, to) in bounds(),
    ) {
        let mut theirs: collections::BTreeSet<u8> = one.iter().copied().collect();
        let mut ours: compact::BTreeSet<u8> = one.iter().copied().collect();
        let their_other: collections::BTreeSet<u8> = other.iter().copied().collect();
        let our_other: compact::BTreeSet<u8> = other.iter().copied().collect();
        prop_assert!(theirs.union(&their_other).eq(ours.union(&our_other)));
        prop_assert!(theirs.difference(&their_other).eq(ours.difference(&our_other)));
        prop_assert!(theirs.range((from, to)).rev().eq(ours.range((from, to)).rev()));
        prop_assert_eq!((theirs.first(), theirs.last()), (ours.first(), ours.last()));
        prop_assert_eq!(theirs.contains(&at), ours.contains(&at));
        for value in other {
            prop_assert_eq!(theirs.insert(value), ours.insert(value));
        }
        prop_assert_eq!(theirs.take(&at), ours.take(&at));
        prop_assert_eq!(theirs.remove(&at.wrapping_add(1)), ours.remove(&at.wrapping_add(1)));
        let tails = (theirs.split_off(&at), ours.split_off(&at));
        prop_assert!(tails.0.into_iter().eq(tails.1));
        theirs.retain(|value| value % 3 != 0);
        ours.retain(|value| value % 3 != 0);
        prop_assert_eq!((theirs.pop_first(), theirs.pop_last()), (ours.pop_first(), ours.pop_last()));
        prop_assert_eq!((theirs.len(), theirs.is_empty()), (ours.len(), ours.is_empty()));
        prop_assert!(theirs.iter().eq(ours.iter()));
    }
}
