//! SUBSCRIBE_TRACKS: sessions that are sent a PUBLISH for every track below a prefix.
//!
//! | a track, for one SUBSCRIBE_TRACKS | means | left by |
//! |---|---|---|
//! | offered | PUBLISH is sent, not answered; no object is sent yet | the answer, or the track's end |
//! | viewed | the peer agreed: it is a viewer like any other | its cancel, or PUBLISH_DONE |
//! | skipped | no PUBLISH could be sent; PUBLISH_SKIPPED was | another publisher's PUBLISH |
//!
//! Offered are tracks that publishers PUBLISHed and tracks that the relay makes of uploads; not the
//! session's own, and not what it subscribes to already or waits for.
//!
//! Range filters of all who ask for a prefix are tried on each track below it. More than
//! [`Config::tracks_filters_max`](super::super::Config::tracks_filters_max) different ones of one prefix
//! are refused with CONFLICTING_FILTERS; a filter that somebody has already costs nothing.
//!
//! Limits: [`Config::tracks_offered_max`](super::super::Config::tracks_offered_max) per prefix, and
//! the session's open requests. Source: draft-ietf-moq-transport-18 and 19, sections 6.1
//! (subscribing to namespaces), 8.5 (publisher interactions), 10.19 (SUBSCRIBE_TRACKS), 10.20.

use super::super::prefixes::Prefixes;
use super::super::{Announced, Relay, RequestKey, TrackId};
use super::{Entry, Upstream};
use crate::map::BTreeMap;
use crate::moqt::draft::{Draft, ParameterTable};
use crate::moqt::error::{PublishDoneCode, RequestCode};
use crate::moqt::filter::RangeFilter;
use crate::moqt::filter::sets::{self, FilterError, FilterSets};
use crate::moqt::message::{RequestError, SubscribeTracks};
use crate::moqt::name::{FullTrackName, RequestId, TrackName, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::time::{Instant, UnixTime};
use crate::transport::SessionId;

/// The SUBSCRIBE_TRACKS of all sessions.
#[derive(Debug, Default)]
pub(in crate::moqt::relay) struct Offers {
    by_prefix: Prefixes<RequestKey>,
    requests: BTreeMap<RequestKey, Wish>,
    /// The different range filters of a prefix, and how many requests have each.
    filters: BTreeMap<TrackNamespace, BTreeMap<Vec<RangeFilter>, usize>>,
}

/// One SUBSCRIBE_TRACKS.
#[derive(Debug)]
struct Wish {
    /// Its prefix, as the relay calls it and as the peer does.
    prefix: Announced,
    /// What its subscriptions begin with.
    parameters: Parameters,
    filters: FilterSets,
    expires: Option<UnixTime>,
}

impl Offers {
    pub(in crate::moqt::relay) fn contains(&self, key: RequestKey) -> bool {
        self.requests.contains_key(&key)
    }

    /// The requests of one session.
    pub(in crate::moqt::relay) fn of_session(
        &self,
        session: SessionId,
    ) -> impl Iterator<Item = RequestKey> {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        self.requests.range(of_session).map(|(key, _)| *key)
    }

    /// Whether a prefix overlaps that of another SUBSCRIBE_TRACKS of the session.
    fn overlaps(&self, of: RequestKey, prefix: &TrackNamespace) -> bool {
        self.of_session(of.0).any(|key| {
            let wish = self.requests.get(&key).filter(|_| key != of);
            wish.is_some_and(|wish| {
                let other = &wish.prefix.namespace;
                other.has_prefix(prefix) || prefix.has_prefix(other)
            })
        })
    }

    fn insert(&mut self, key: RequestKey, wish: Wish) {
        self.by_prefix.insert(wish.prefix.namespace.fields(), key);
        if let Some(filters) = wish.filter_key() {
            let of_prefix = self.filters.entry(wish.prefix.namespace.clone());
            let count = of_prefix.or_default().entry(filters).or_insert(0);
            *count = count.saturating_add(1);
        }
        self.requests.insert(key, wish);
    }

    fn remove(&mut self, key: RequestKey) -> Option<Wish> {
        let wish = self.requests.remove(&key)?;
        self.by_prefix.remove(wish.prefix.namespace.fields(), &key);
        if let Some(filters) = wish.filter_key()
            && let Some(of_prefix) = self.filters.get_mut(&wish.prefix.namespace)
            && let Some(count) = of_prefix.get_mut(&filters)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                of_prefix.remove(&filters);
            }
            if of_prefix.is_empty() {
                self.filters.remove(&wish.prefix.namespace);
            }
        }
        Some(wish)
    }

    /// Whether filters are one too many of a prefix. `own` is what the asker has there already.
    fn conflicts(&self, wish: &Wish, own: Option<&Wish>, max: usize) -> bool {
        let (Some(filters), Some(of_prefix)) =
            (wish.filter_key(), self.filters.get(&wish.prefix.namespace))
        else {
            return false;
        };
        let leaves = own
            .filter(|own| own.prefix.namespace == wish.prefix.namespace)
            .and_then(Wish::filter_key)
            .is_some_and(|own| of_prefix.get(&own) == Some(&1));
        let others = of_prefix.len().saturating_sub(usize::from(leaves));
        !of_prefix.contains_key(&filters) && others >= max
    }
}

impl Wish {
    /// The filters in one order, whatever order they came in; `None` without any.
    fn filter_key(&self) -> Option<Vec<RangeFilter>> {
        let filters = self.parameters.range_filters.iter();
        let filters = filters.filter(|filter| !filter.value.is_empty());
        let mut filters: Vec<RangeFilter> = filters.cloned().collect();
        filters.sort_unstable();
        (!filters.is_empty()).then_some(filters)
    }
}

/// Requests.
impl Relay {
    pub(in crate::moqt::relay) fn take_subscribe_tracks(
        &mut self,
        now: Instant,
        key: RequestKey,
        request: SubscribeTracks,
    ) {
        let mut parameters = request.parameters;
        let Some(allowed) = self.allow_subscribe(now, key, &request.prefix, &parameters) else {
            return;
        };
        let filters = match self.read_filters(&parameters) {
            Ok(filters) => filters,
            Err(error) => {
                self.refuse(key, RequestCode::INVALID_FILTER, &error.to_string());
                return;
            }
        };
        // Tokens are the request's own: they are never copied to a PUBLISH.
        parameters.authorization_tokens = Vec::new();
        let wish = Wish {
            prefix: Announced {
                namespace: allowed.namespace.clone(),
                spelling: request.prefix,
            },
            parameters,
            filters,
            expires: allowed.expires,
        };
        let tracks = self
            .check_conflicts(&wish, None)
            .and_then(|()| self.wished_tracks(key, &wish.prefix.namespace));
        match tracks {
            Ok(tracks) => {
                if self.accept_until(now, key, allowed.expires) {
                    self.remember_permission(now, key, allowed);
                    self.offers.insert(key, wish);
                    self.offer_all(now, key, tracks);
                }
            }
            Err(error) => self.refuse_with(key, error),
        }
    }

    /// A REQUEST_UPDATE of a SUBSCRIBE_TRACKS: for the PUBLISHes to come.
    pub(in crate::moqt::relay) fn update_wish(
        &mut self,
        now: Instant,
        key: RequestKey,
        update: &Parameters,
    ) -> Result<(), RequestError> {
        let Some(wish) = self.offers.requests.get(&key) else {
            return Ok(());
        };
        let mut parameters = wish.parameters.clone();
        overlay(&mut parameters, update);
        let filters = self
            .read_filters(&parameters)
            .map_err(|error| RequestError::new(RequestCode::INVALID_FILTER, error.to_string()))?;
        let mut prefix = wish.prefix.clone();
        let mut expires = wish.expires;
        if update.namespace_prefix.is_some() || !update.authorization_tokens.is_empty() {
            let spelling = update.namespace_prefix.clone();
            let spelling = spelling.unwrap_or_else(|| prefix.spelling.clone());
            let allowed = self.permit_update(now, key, &spelling, update)?;
            prefix = Announced {
                namespace: allowed.namespace.clone(),
                spelling,
            };
            expires = allowed.expires;
            self.remember_permission(now, key, allowed);
        }
        let is_moved = prefix.namespace != wish_namespace(&self.offers, key);
        let tracks = if is_moved {
            self.wished_tracks(key, &prefix.namespace)?
        } else {
            Vec::new()
        };
        let wish = Wish {
            prefix,
            parameters,
            filters,
            expires,
        };
        self.check_conflicts(&wish, self.offers.requests.get(&key))?;
        self.offers.remove(key);
        self.offers.insert(key, wish);
        self.offer_all(now, key, tracks);
        Ok(())
    }

    fn check_conflicts(&self, wish: &Wish, own: Option<&Wish>) -> Result<(), RequestError> {
        if !self
            .offers
            .conflicts(wish, own, self.config.tracks_filters_max)
        {
            return Ok(());
        }
        let reason = "too many different range filters of this prefix";
        Err(RequestError::new(RequestCode::CONFLICTING_FILTERS, reason))
    }

    /// A SUBSCRIBE_TRACKS is over; the subscriptions that came of it go on.
    pub(in crate::moqt::relay) fn wish_over(&mut self, key: RequestKey) {
        self.offers.remove(key);
    }

    fn read_filters(&self, parameters: &Parameters) -> Result<FilterSets, FilterError> {
        let max = self.config.track.filter_ranges_max;
        FilterSets::parse(&parameters.range_filters, max)
    }

    /// The tracks below a prefix that could be offered now.
    fn wished_tracks(
        &self,
        key: RequestKey,
        prefix: &TrackNamespace,
    ) -> Result<Vec<TrackId>, RequestError> {
        if self.offers.overlaps(key, prefix) {
            let reason = "the prefix overlaps an earlier one";
            return Err(RequestError::new(RequestCode::PREFIX_OVERLAP, reason));
        }
        let from = FullTrackName {
            namespace: prefix.clone(),
            name: TrackName::default(),
        };
        let limit = self.config.tracks_offered_max;
        // Names with a common prefix stand next to each other.
        let below = self
            .names
            .range(from..)
            .take_while(|(name, _)| name.namespace.has_prefix(prefix));
        let mut tracks = Vec::new();
        for (_, id) in below {
            if tracks.len() == limit {
                let reason = "the prefix matches too many tracks";
                let code = RequestCode::NAMESPACE_TOO_LARGE;
                return Err(RequestError::new(code, reason));
            }
            tracks.push(*id);
        }
        Ok(tracks)
    }
}

/// Offers.
impl Relay {
    /// A track is being published: who asked for tracks like it is offered it.
    pub(in crate::moqt::relay) fn offer_track(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        for wish in self
            .offers
            .by_prefix
            .covering(entry.name.namespace.fields())
        {
            self.offer(now, id, wish);
        }
    }

    fn offer_all(&mut self, now: Instant, wish: RequestKey, tracks: Vec<TrackId>) {
        for id in tracks {
            self.offer(now, id, wish);
        }
    }

    fn offer(&mut self, now: Instant, id: TrackId, by: RequestKey) {
        let (Some(entry), Some(wish)) = (self.entries.get(&id), self.offers.requests.get(&by))
        else {
            return;
        };
        let properties = entry.track.properties();
        if !entry.is_offered_to(by.0, &self.uploads) || !wish.filters.admits(properties) {
            return;
        }
        let (Some(name), Some(session)) =
            (wish.prefix.spell(&entry.name), self.sessions.session(by.0))
        else {
            return;
        };
        let mut shown = wish.parameters.clone();
        shown.expires_ms = wish.expires.and_then(|at| self.expires_ms(now, at));
        let largest = entry.track.largest();
        shown.largest = largest;
        let shown = publish_parameters(session.draft(), &shown);
        let (mut parameters, expires) = (wish.parameters.clone(), wish.expires);
        // Where the subscription begins, however long its answer takes.
        parameters.largest = largest;
        let properties = offered_properties(&parameters, properties);
        let suffix = name.namespace.suffix_after(&wish.prefix.spelling);
        let Some(session) = self.sessions.session_mut(by.0) else {
            return;
        };
        match session.publish(name.clone(), shown, properties) {
            Ok(request) => {
                let key = (by.0, request);
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.offered.insert(key, parameters);
                    entry.idle_until = None;
                    self.viewed.insert(entry.name.clone(), id);
                }
                self.downstreams.insert(key, id);
                if let Some(expires) = expires {
                    self.expire_subscription_at(now, key, expires);
                }
            }
            Err(_) => {
                if let Some(suffix) = suffix {
                    // A request that ended meanwhile needs no news.
                    let _ = session.publish_skipped(by.1, suffix, name.name);
                }
            }
        }
    }

    /// A peer agreed to a PUBLISH of ours.
    pub(in crate::moqt::relay) fn offer_accepted(
        &mut self,
        now: Instant,
        key: RequestKey,
        answer: &Parameters,
    ) {
        let Some(id) = self.downstreams.get(&key).copied() else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(mut parameters) = entry.offered.remove(&key) else {
            return;
        };
        overlay(&mut parameters, answer);
        let told = parameters.largest;
        entry
            .track
            .subscribe_at(now, &mut self.sessions, key, &parameters, told);
        self.refresh_forward(id);
        self.ask_new_group(id, answer.new_group_request);
        self.arm_track(id);
    }

    /// A peer changes a subscription that it was offered and did not agree to yet.
    pub(in crate::moqt::relay) fn update_offer(
        &mut self,
        key: RequestKey,
        update: &Parameters,
    ) -> bool {
        let id = self.downstreams.get(&key);
        let entry = id.and_then(|id| self.entries.get_mut(id));
        let Some(parameters) = entry.and_then(|entry| entry.offered.get_mut(&key)) else {
            return false;
        };
        overlay(parameters, update);
        true
    }

    /// A track ended before who was offered it agreed.
    pub(super) fn withdraw_offers(
        &mut self,
        id: TrackId,
        code: PublishDoneCode,
        reason: &'static str,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        for key in std::mem::take(&mut entry.offered).into_keys() {
            self.downstreams.remove(&key);
            self.forget_expiry(key);
            if let Some(session) = self.sessions.session_mut(key.0) {
                // The request may be gone already; then nobody is left to be told.
                let _ = session.publish_done(key.1, code, reason);
            }
        }
    }
}

impl Entry {
    /// Whether the track is one to offer to this session.
    fn is_offered_to(
        &self,
        session: SessionId,
        uploads: &BTreeMap<RequestKey, super::super::sdk::Upload>,
    ) -> bool {
        let is_published = self
            .upstreams
            .iter()
            .any(|(key, upstream)| *upstream == Upstream::Published && !uploads.contains_key(key));
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let has_it = self.upstreams.range(of_session.clone()).next().is_some()
            || self.waiting.range(of_session.clone()).next().is_some()
            || self.offered.range(of_session).next().is_some()
            || self.track.has_subscriber_of(session);
        (is_published || self.made_by.is_some()) && !self.is_ending && !has_it
    }
}

fn wish_namespace(offers: &Offers, key: RequestKey) -> TrackNamespace {
    let wish = offers.requests.get(&key);
    wish.map(|wish| wish.prefix.namespace.clone())
        .unwrap_or_default()
}

/// What a subscription has after an update: what is named is replaced.
fn overlay(parameters: &mut Parameters, update: &Parameters) {
    fn set<T: Clone>(value: &mut Option<T>, update: Option<&T>) {
        if let Some(update) = update {
            *value = Some(update.clone());
        }
    }
    set(
        &mut parameters.object_delivery_timeout_ms,
        update.object_delivery_timeout_ms.as_ref(),
    );
    set(
        &mut parameters.subgroup_delivery_timeout_ms,
        update.subgroup_delivery_timeout_ms.as_ref(),
    );
    set(&mut parameters.forward, update.forward.as_ref());
    set(
        &mut parameters.subscriber_priority,
        update.subscriber_priority.as_ref(),
    );
    set(&mut parameters.filter, update.filter.as_ref());
    set(&mut parameters.group_order, update.group_order.as_ref());
    parameters.range_filters =
        sets::updated(&parameters.range_filters, update.range_filters.as_ref());
}

/// What a PUBLISH says of the subscription that it offers.
fn publish_parameters(draft: Draft, of: &Parameters) -> Parameters {
    let shown = Parameters {
        expires_ms: of.expires_ms,
        largest: of.largest,
        forward: of.forward.filter(|forward| !forward),
        ..Parameters::default()
    };
    match draft.profile().parameter_table {
        ParameterTable::Eighteen => shown,
        ParameterTable::Twenty => Parameters {
            object_delivery_timeout_ms: of.object_delivery_timeout_ms,
            subgroup_delivery_timeout_ms: of.subgroup_delivery_timeout_ms,
            subscriber_priority: of.subscriber_priority,
            filter: of.filter,
            group_order: of.group_order,
            ..shown
        },
    }
}

/// The properties that a subscriber is told: none, where it asked for none.
pub(super) fn offered_properties(asked: &Parameters, properties: &Properties) -> Properties {
    match asked.include_properties {
        Some(false) => Properties::EMPTY,
        Some(true) | None => properties.clone(),
    }
}
