//! Fetches that rest on a subscription: joining FETCH (18) and fill (20 and later).
//!
//! A joining FETCH ends where its subscription began, so both together have no hole and no object
//! twice. One that comes before the subscription is established waits for it. A fill has no answer of
//! its own: an empty one opens no stream, one that cannot be served opens its stream and resets it.

use super::super::{Relay, RequestKey};
use super::State;
use super::answer::invalid_range;
use crate::canary::{self, Canary};
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::message::{Fetch as FetchMessage, FetchTarget, RequestError};
use crate::moqt::name::RequestId;
use crate::moqt::parameter::Parameters;
use crate::moqt::track::fetched;
use crate::moqt::track::serving::{Serving, Wanted};
use crate::time::Instant;
use crate::transport::SessionId;

impl Relay {
    pub(super) fn join_by_fetch(&mut self, now: Instant, key: RequestKey, fetch: FetchMessage) {
        let (FetchTarget::RelativeJoin { joining, .. } | FetchTarget::AbsoluteJoin { joining, .. }) =
            &fetch.target
        else {
            return;
        };
        let subscription = (key.0, *joining);
        let Some(track) = self.downstreams.get(&subscription).copied() else {
            let reason = "there is no such subscription to join";
            self.refuse(key, RequestCode::INVALID_JOINING_REQUEST_ID, reason);
            return;
        };
        if !self.has_room_for_fetch(key) {
            return;
        }
        let Some(entry) = self.entries.get(&track) else {
            return;
        };
        let Some(joined) = entry.track.joined(subscription) else {
            // Its publisher has not answered yet.
            self.fetches.joining.insert((subscription, key), fetch);
            return;
        };
        if !joined.forward {
            let reason = "the subscription to join has forward state 0";
            self.refuse(key, RequestCode::INVALID_RANGE, reason);
            return;
        }
        let Some(span) = fetched::joining_span(&fetch.target, joined.location) else {
            self.refuse_with(key, invalid_range(joined.location));
            return;
        };
        // The fetch rests on the same permission.
        if let Some(expires) = self.subscription_expiry.get(&subscription).copied() {
            self.expire_subscription_at(now, key, expires);
        }
        let id = self.insert_fetch(track, key, key, false, fetch.parameters);
        self.accept_fetch(now, id, span);
    }

    /// A subscription is established: fetches that join it, and the fill that it asked for.
    pub(in crate::moqt::relay) fn subscription_established(
        &mut self,
        now: Instant,
        key: RequestKey,
        parameters: &Parameters,
    ) {
        self.fill(now, key, key.1, parameters);
        for (fetch_key, fetch) in self.take_joining(key) {
            self.join_by_fetch(now, fetch_key, fetch);
        }
    }

    /// A subscription came to nothing, and with it the fetches that join it.
    pub(in crate::moqt::relay) fn subscription_refused(&mut self, key: RequestKey) {
        for (fetch_key, _) in self.take_joining(key) {
            let reason = "the subscription to join was not established";
            let code = RequestCode::INVALID_JOINING_REQUEST_ID;
            self.refuse_with(fetch_key, RequestError::new(code, reason));
        }
    }

    fn take_joining(&mut self, subscription: RequestKey) -> Vec<(RequestKey, FetchMessage)> {
        let first = (subscription, (SessionId(0), RequestId(0)));
        let last = (subscription, (SessionId(u64::MAX), RequestId(u64::MAX)));
        let all = self.fetches.joining.range(first..=last);
        let keys: Vec<_> = all.map(|(key, _)| *key).collect();
        keys.into_iter()
            .filter_map(|key| Some((key.1, self.fetches.joining.remove(&key)?)))
            .collect()
    }

    /// A request is over: it may have been a joining FETCH that waits.
    pub(super) fn forget_joining(&mut self, request: RequestKey) {
        let first = ((request.0, RequestId(0)), (SessionId(0), RequestId(0)));
        let last = (
            (request.0, RequestId(u64::MAX)),
            (SessionId(u64::MAX), RequestId(u64::MAX)),
        );
        let of_session = self.fetches.joining.range(first..=last);
        let waiting: Vec<_> = of_session
            .filter(|((_, fetch), _)| *fetch == request)
            .map(|(key, _)| *key)
            .collect();
        for key in waiting {
            self.fetches.joining.remove(&key);
        }
    }

    /// Opens the fill that a SUBSCRIBE or REQUEST_UPDATE named `name` asks for.
    pub(in crate::moqt::relay) fn fill(
        &mut self,
        now: Instant,
        subscription: RequestKey,
        name: RequestId,
        parameters: &Parameters,
    ) {
        let Some(fill) = &parameters.fill else {
            return;
        };
        if canary::is_on(Canary::PastUnanswered) {
            return;
        }
        let Some(track) = self.downstreams.get(&subscription).copied() else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&track) else {
            return;
        };
        let Some(joined) = entry
            .track
            .joined(subscription)
            .filter(|joined| joined.forward)
        else {
            return;
        };
        let parameters = Parameters {
            fill_timeout_ms: fill.fill_timeout_ms,
            subscriber_priority: fill.subscriber_priority.or(Some(joined.priority)),
            filter: fill.filter.or(joined.filter),
            group_order: fill.group_order.or(joined.order),
            range_filters: fill.range_filters.clone(),
            ..Parameters::default()
        };
        let Some(span) = fetched::span_of(parameters.filter, entry.track.largest()) else {
            return;
        };
        let name = (subscription.0, name);
        if self
            .fetches
            .is_full(subscription.0, self.config.fetch.session_fetches_max)
        {
            let wanted = Wanted {
                span,
                order: parameters
                    .group_order
                    .unwrap_or(crate::moqt::filter::GroupOrder::Ascending),
                priority: joined.priority,
            };
            Serving::new(wanted).reset(&mut self.sessions, name, StreamCode::EXCESSIVE_LOAD);
            return;
        }
        entry
            .track
            .count_fill(now, &mut self.sessions, subscription, true);
        let id = self.insert_fetch(track, subscription, name, true, parameters);
        self.accept_fetch(now, id, span);
        debug_assert!(
            self.fetches
                .by_id
                .get(&id)
                .is_none_or(|fetch| matches!(fetch.state, State::Serving(_)))
        );
    }
}
