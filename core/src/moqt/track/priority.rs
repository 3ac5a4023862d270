//! The draft's scheduling order as one number per stream.
//!
//! | bits, from the top | ranks by |
//! |---|---|
//! | 8 | subscriber priority, lower first |
//! | 8 | publisher priority, lower first |
//! | 11 | rank of the group, by the subscription's group order |
//! | 4 | subgroup, lower first; from the 16th on they are equal |
//!
//! Group ids go up to 2^62, ranks to 2,047. A subscription ranks the groups that it has open
//! ([`Ranks`]): by their distance from a multiple of 1,024 at or below the oldest of them, so that
//! tracks with common group ids have common ranks, and more closely where they lie further apart.
//! When the ranks of open groups change, so do the priorities of their streams.
//!
//! Source: draft-ietf-moq-transport-18 section 7.2 (scheduling algorithm).

use crate::canary::{self, Canary};
use crate::moqt::filter::GroupOrder;

/// The largest rank.
const RANK_MAX: u16 = 0x7ff;
/// Ranks count from multiples of this.
const BLOCK: u64 = 1024;
const SUBGROUP_MAX: u64 = 0xf;

/// Packs the draft's scheduling order for a stream of its own into one number, higher first:
/// subscriber priority, then publisher priority (for both, lower values go first), then group order.
pub fn stream_priority(subscriber: u8, publisher: u8, order: GroupOrder, group: u64) -> i32 {
    let rank = Ranks::default().beginning_at(group).of(group);
    subgroup_priority(subscriber, publisher, order, (rank, 0))
}

/// The same for a subgroup of a group with this rank: within a group, the lower Subgroup ID goes
/// first.
pub fn subgroup_priority(
    subscriber: u8,
    publisher: u8,
    order: GroupOrder,
    (rank, subgroup): (u16, u64),
) -> i32 {
    if canary::is_on(Canary::PriorityIgnored) {
        return 0;
    }
    let rank = rank.min(RANK_MAX);
    let group = i32::from(match order {
        GroupOrder::Ascending => RANK_MAX - rank,
        GroupOrder::Descending => rank,
    });
    let subgroup = i32::try_from(SUBGROUP_MAX - subgroup.min(SUBGROUP_MAX)).unwrap_or(0);
    let subscriber = i32::from(u8::MAX - subscriber);
    let publisher = i32::from(u8::MAX - publisher);
    // Request and control streams stay above: the largest value here is below i32::MAX - 1.
    ((subscriber << 23) | (publisher << 15) | (group << 4) | subgroup).min(i32::MAX - 2)
}

/// The ranks of the groups that a subscription has open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranks {
    base: u64,
    /// Groups that lie too far apart for their distance, ascending, with their ranks; else none.
    spread: Vec<(u64, u16)>,
}

impl Ranks {
    fn beginning_at(self, group: u64) -> Self {
        let base = group - group % BLOCK;
        Self { base, ..self }
    }

    /// The rank of a group, 0 for the oldest.
    pub fn of(&self, group: u64) -> u16 {
        if let Ok(index) = self.spread.binary_search_by_key(&group, |(of, _)| *of) {
            return self.spread.get(index).map_or(0, |(_, rank)| *rank);
        }
        self.near(group)
    }

    fn near(&self, group: u64) -> u16 {
        let distance = group.saturating_sub(self.base).min(RANK_MAX.into());
        u16::try_from(distance).unwrap_or(RANK_MAX)
    }

    /// Ranks these open groups, ascending. Returns whether ranks have changed.
    pub fn follow(&mut self, oldest: u64, newest: u64, open: impl Iterator<Item = u64>) -> bool {
        let base = oldest - oldest % BLOCK;
        let is_near = newest.saturating_sub(base) <= RANK_MAX.into();
        if is_near && self.base == base && self.spread.is_empty() {
            return false;
        }
        let mut ranks = Self {
            base,
            spread: Vec::new(),
        };
        if !is_near {
            let groups: Vec<u64> = open.collect();
            let mut next = 0_u16;
            for (index, group) in groups.iter().enumerate() {
                // Room for those that come after it.
                let after = u16::try_from(groups.len() - index - 1).unwrap_or(RANK_MAX);
                let rank = (ranks.near(*group).max(next)).min(RANK_MAX.saturating_sub(after));
                ranks.spread.push((*group, rank));
                next = rank.saturating_add(1);
            }
        }
        let has_changed = *self != ranks;
        *self = ranks;
        has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_spec_covers::covers;

    #[test]
    fn priority_ranks_subscriber_then_publisher_then_group_then_subgroup() {
        covers!("MOQT19-7.2-1");
        let ascending = |s, p, g| stream_priority(s, p, GroupOrder::Ascending, g);
        assert!(ascending(0, 255, 9) > ascending(1, 0, 0));
        assert!(ascending(7, 3, 9) > ascending(7, 4, 0));
        assert!(ascending(7, 3, 1) > ascending(7, 3, 2));
        let descending = |g| stream_priority(7, 3, GroupOrder::Descending, g);
        assert!(descending(2) > descending(1));
        let of = |place| subgroup_priority(7, 3, GroupOrder::Descending, place);
        assert!(of((2, 0)) > of((2, 1)) && of((2, 99)) > of((1, 0)));
        assert!(of((0, 0)) < of((u16::MAX, 0)));
        assert!(ascending(0, 0, 0) < crate::moqt::session::REQUEST_PRIORITY);
        assert!(ascending(255, 255, u64::MAX) >= 0);
    }

    #[test]
    fn ranks_rise_with_groups_however_far_these_lie_apart() {
        let max = (1 << 62) - 1;
        for open in [
            vec![0, 1, 2047],
            vec![2047, 2048, 2049],
            vec![1023, 1024, 3071, 3072],
            vec![5, 1_000_000, 1_000_001, 1_000_002],
            vec![0, max - 1, max],
            vec![max - 3, max],
            vec![3, 2046, 2047, 2048, 2049, 2050, 2051, max],
        ] {
            let mut ranks = Ranks::default().beginning_at(7_000_000);
            let (oldest, newest) = (open[0], open[open.len() - 1]);
            assert!(ranks.follow(oldest, newest, open.iter().copied()));
            let of: Vec<u16> = open.iter().map(|group| ranks.of(*group)).collect();
            assert!(of.is_sorted_by(|a, b| a < b), "{open:?}: {of:?}");
            assert!(!ranks.follow(oldest, newest, open.iter().copied()));
        }
    }
}
