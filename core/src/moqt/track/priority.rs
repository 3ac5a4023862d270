//! The draft's scheduling order as one number per stream.
//!
//! | bits, from the top | ranks by |
//! |---|---|
//! | 8 | subscriber priority, lower first |
//! | 8 | publisher priority, lower first |
//! | 11 | group, by the subscription's group order; modulo 2,048 |
//! | 4 | subgroup, lower first; from the 16th on they are equal |
//!
//! Open streams of one subscription lie a few groups apart, so that the modulus shows only while
//! groups on both sides of a multiple of 2,048 are open.
//!
//! Source: draft-ietf-moq-transport-18 section 7.2 (scheduling algorithm).

use crate::canary::{self, Canary};
use crate::moqt::filter::GroupOrder;

const GROUP_MAX: u16 = 0x7ff;
const SUBGROUP_MAX: u64 = 0xf;

/// Packs the draft's scheduling order for a group into one number, higher first: subscriber
/// priority, then publisher priority (for both, lower values go first), then group order.
pub fn stream_priority(subscriber: u8, publisher: u8, order: GroupOrder, group: u64) -> i32 {
    subgroup_priority(subscriber, publisher, order, (group, 0))
}

/// The same for a subgroup: within a group, the lower Subgroup ID goes first.
pub fn subgroup_priority(
    subscriber: u8,
    publisher: u8,
    order: GroupOrder,
    place: (u64, u64),
) -> i32 {
    if canary::is_on(Canary::PriorityIgnored) {
        return 0;
    }
    let (group, subgroup) = place;
    let [.., high, low] = group.to_be_bytes();
    let group = u16::from_be_bytes([high, low]) & GROUP_MAX;
    let group = i32::from(match order {
        GroupOrder::Ascending => GROUP_MAX - group,
        GroupOrder::Descending => group,
    });
    let subgroup = i32::try_from(SUBGROUP_MAX - subgroup.min(SUBGROUP_MAX)).unwrap_or(0);
    let subscriber = i32::from(u8::MAX - subscriber);
    let publisher = i32::from(u8::MAX - publisher);
    // Request and control streams stay above: the largest value here is below i32::MAX - 1.
    ((subscriber << 23) | (publisher << 15) | (group << 4) | subgroup).min(i32::MAX - 2)
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
        assert!(ascending(0, 0, 0) < crate::moqt::session::REQUEST_PRIORITY);
        assert!(ascending(255, 255, u64::MAX) >= 0);
    }
}
