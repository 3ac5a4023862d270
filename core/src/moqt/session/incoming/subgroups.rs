//! Subgroup streams and datagrams of the peer, and the aliases that tie them to subscriptions.
//!
//! Subscriptions to one track may share an alias. What comes under it goes to each of them whose
//! filters it passes, location and ranges. A stream stays tied to the track that its alias meant when it
//! was bound, and ends with the last subscription to it.
//!
//! Source: draft-ietf-moq-transport-18, Sections 2.4.2, 11.1, 11.3, 11.4.2.

use super::super::{
    Bytes, Event, Instant, ProtocolError, Request, RequestId, Session, SessionCode, State,
    StreamCode, StreamEnd, StreamId, TrackAlias,
};
use super::rules::TrackRules;
use super::{Incoming, Kind};
use crate::moqt::filter::sets::Fields;
use crate::moqt::name::{FullTrackName, Location};
use crate::moqt::object::{self, DataFault, DatagramEvent, Object, SubgroupEvent, SubgroupHeader};

/// How many aliases of ended subscriptions are remembered, to discard late streams at once.
const RETIRED_ALIASES: usize = 64;

/// What an alias of the peer means.
#[derive(Debug)]
pub(in crate::moqt::session) struct AliasIn {
    /// The request that established it, which tells it from a later use of the same number.
    born: RequestId,
    /// The subscriptions under it, at least one.
    holders: Vec<RequestId>,
    rules: TrackRules,
}

/// What a subgroup stream belongs to.
#[derive(Clone, Copy, Debug)]
pub(in crate::moqt::session) struct Bound {
    alias: TrackAlias,
    born: RequestId,
    subgroup: Option<u64>,
    /// The last object that came.
    last: Option<u64>,
    /// When the header of the object was read whose payload is arriving.
    began: Option<Instant>,
}

/// An object under an alias, as filters see it.
#[derive(Clone, Copy)]
struct Seen<'a> {
    object: &'a Object,
    /// Where it states one.
    priority: Option<u8>,
}

impl Seen<'_> {
    fn passes(&self, of: &Request) -> bool {
        let place = Location::new(self.object.group, self.object.object);
        let fields = Fields {
            subgroup: self.object.subgroup,
            object: self.object.object,
            priority: self.priority.unwrap_or(of.default_priority),
            properties: &self.object.properties,
        };
        of.window.is_none_or(|window| window.contains(place))
            && of
                .object_filter
                .as_ref()
                .is_none_or(|filter| filter.passes(fields))
    }
}

impl Session {
    /// Returns whether the stream has to be kept.
    pub(super) fn advance_subgroup(
        &mut self,
        now: Instant,
        stream: StreamId,
        incoming: &mut Incoming,
    ) -> Result<bool, ProtocolError> {
        if self.state != State::Ready {
            return Ok(true);
        }
        let Kind::Subgroup {
            reader,
            header,
            bound,
        } = &mut incoming.kind
        else {
            return Ok(true);
        };
        loop {
            if let (Some(known), None) = (*header, *bound) {
                let Some(alias) = self.aliases_in.get(&known.track_alias) else {
                    let alias = known.track_alias;
                    return Ok(self.hold_for_alias(now, stream, incoming, alias));
                };
                *bound = Some(Bound {
                    alias: known.track_alias,
                    born: alias.born,
                    subgroup: known.subgroup.known(),
                    last: None,
                    began: None,
                });
                incoming.alias_deadline = None;
            }
            match reader.poll() {
                Ok(Some(SubgroupEvent::Header(known))) => *header = Some(known),
                Err(DataFault::Session(fault)) => return Err(fault),
                Err(DataFault::Track(_)) => {
                    self.stop(stream, StreamCode::MALFORMED_TRACK);
                    if let Some(bound) = *bound {
                        self.give_up_track(&bound);
                    }
                    return Ok(false);
                }
                Ok(Some(SubgroupEvent::Object(object))) => {
                    let (Some(header), Some(bound)) = (*header, bound.as_mut()) else {
                        continue;
                    };
                    if !self.take_subgroup_object(now, stream, &header, bound, object) {
                        return Ok(false);
                    }
                }
                Ok(None) => break,
            }
        }
        if let Some(bound) = bound.as_mut().filter(|_| reader.is_mid_object()) {
            bound.began.get_or_insert(now);
        }
        let Some(end) = incoming.ended else {
            incoming.release(&mut self.held_bytes);
            return Ok(true);
        };
        if end == StreamEnd::Finished {
            reader.finish()?;
        }
        if let (Some(header), Some(bound)) = (*header, *bound) {
            self.subgroup_over(stream, &header, &bound, end);
        }
        Ok(false)
    }

    /// Passes an object on. Returns whether the stream has to be kept.
    fn take_subgroup_object(
        &mut self,
        now: Instant,
        stream: StreamId,
        header: &SubgroupHeader,
        bound: &mut Bound,
        object: Object,
    ) -> bool {
        bound.subgroup = object.subgroup;
        bound.last = Some(object.object);
        let began = bound.began.take().unwrap_or(now);
        let Some(alias) = self.alias_of(bound) else {
            // Every subscription to the track was given up.
            self.stop(stream, StreamCode::CANCELLED);
            return false;
        };
        if alias.rules.object(Some(header), &object).is_err() {
            self.stop(stream, StreamCode::MALFORMED_TRACK);
            self.give_up_track(bound);
            return false;
        }
        let seen = Seen {
            object: &object,
            priority: header.priority,
        };
        self.for_holders(bound.alias, Some(seen), |request| Event::Object {
            request,
            stream,
            header: *header,
            object: object.clone(),
            began,
        });
        true
    }

    fn alias_of(&mut self, bound: &Bound) -> Option<&mut AliasIn> {
        let alias = self.aliases_in.get_mut(&bound.alias)?;
        (alias.born == bound.born).then_some(alias)
    }

    /// Tells the subscriptions under an alias something; about an object, those that it passes.
    fn for_holders(
        &mut self,
        alias: TrackAlias,
        seen: Option<Seen<'_>>,
        event: impl Fn(RequestId) -> Event,
    ) {
        let holder = |session: &Self, index: usize| {
            let alias = session.aliases_in.get(&alias)?;
            let is_shared = alias.holders.len() > 1;
            Some((*alias.holders.get(index)?, is_shared))
        };
        let mut index = 0;
        while let Some((request, is_shared)) = holder(self, index) {
            index += 1;
            // A publisher that gives each subscription its own alias has filtered already.
            let passes = match (seen, self.requests.get(&request)) {
                (Some(seen), Some(entry)) if is_shared => seen.passes(entry),
                _ => true,
            };
            if passes {
                self.event(event(request));
            }
        }
    }

    /// A track whose objects break the rules is not subscribed to any longer.
    fn give_up_track(&mut self, bound: &Bound) {
        let holders = self.alias_of(bound).map(|alias| alias.holders.clone());
        for request in holders.unwrap_or_default() {
            self.give_up(request, StreamCode::MALFORMED_TRACK);
        }
    }

    /// A subgroup stream of the peer is over.
    pub(super) fn subgroup_over(
        &mut self,
        stream: StreamId,
        header: &SubgroupHeader,
        bound: &Bound,
        end: StreamEnd,
    ) {
        let Some(alias) = self.alias_of(bound) else {
            return;
        };
        if let (StreamEnd::Finished, Some(subgroup), Some(last)) = (end, bound.subgroup, bound.last)
            && alias.rules.finished(header, subgroup, last).is_err()
        {
            self.give_up_track(bound);
            return;
        }
        let (group, subgroup) = (header.group, bound.subgroup);
        let holders = alias.holders.clone();
        self.for_holders(bound.alias, None, |request| Event::SubgroupEnded {
            request,
            stream,
            group,
            subgroup,
            end,
        });
        for request in holders {
            if let Some(entry) = self.requests.get_mut(&request) {
                entry.streams_ended = entry.streams_ended.saturating_add(1);
            }
            self.settle_ending(request);
        }
    }

    pub(in crate::moqt::session) fn take_datagram(
        &mut self,
        data: &Bytes,
    ) -> Result<(), ProtocolError> {
        let (track_alias, end_of_group, object) =
            match object::decode_datagram(data, &self.limits.object) {
                Ok(DatagramEvent::Object {
                    track_alias,
                    end_of_group,
                    object,
                }) => (track_alias, end_of_group, object),
                // A malformed object in a datagram is as good as lost.
                Ok(DatagramEvent::Padding) | Err(DataFault::Track(_)) => return Ok(()),
                Err(DataFault::Session(fault)) => return Err(fault),
            };
        let Some(alias) = self.aliases_in.get_mut(&track_alias) else {
            return Ok(());
        };
        let mut result = alias.rules.object(None, &object);
        if end_of_group && result.is_ok() {
            result = alias.rules.group_ends_with(object.group, object.object);
        }
        if result.is_err() {
            let holders = alias.holders.clone();
            for request in holders {
                self.give_up(request, StreamCode::MALFORMED_TRACK);
            }
            return Ok(());
        }
        let seen = Seen {
            object: &object,
            priority: object.priority,
        };
        self.for_holders(track_alias, Some(seen), |request| Event::Datagram {
            request,
            object: object.clone(),
        });
        Ok(())
    }

    /// Ties an alias to the subscription to `track`.
    pub(in crate::moqt::session) fn bind_alias(
        &mut self,
        alias: TrackAlias,
        request: RequestId,
        track: Option<&FullTrackName>,
    ) -> Result<(), ProtocolError> {
        let known = self.aliases_in.entry(alias).or_insert_with(|| AliasIn {
            born: request,
            holders: Vec::new(),
            rules: TrackRules::default(),
        });
        let is_other = known.holders.iter().any(|holder| {
            let holder = self.requests.get(holder);
            holder.is_some_and(|holder| holder.track.as_ref() != track)
        });
        if is_other {
            return Err(ProtocolError::new(
                SessionCode::DUPLICATE_TRACK_ALIAS,
                "track alias names another track already",
            ));
        }
        if !known.holders.contains(&request) {
            known.holders.push(request);
        }
        Ok(())
    }

    /// A subscription under this alias is over.
    pub(in crate::moqt::session) fn unbind_alias(&mut self, alias: TrackAlias, request: RequestId) {
        let Some(known) = self.aliases_in.get_mut(&alias) else {
            return;
        };
        known.holders.retain(|holder| *holder != request);
        if !known.holders.is_empty() {
            return;
        }
        self.aliases_in.remove(&alias);
        if self.retired_aliases.len() == RETIRED_ALIASES {
            self.retired_aliases.pop_front();
        }
        self.retired_aliases.push_back(alias);
    }
}
