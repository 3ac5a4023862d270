//! Which parameters a message may carry.
//!
//! All parameter types are below 64, so a set of them is one word. REQUEST_OK and REQUEST_UPDATE
//! stand for several messages each: decoding admits the union, and the session, which knows the
//! request, narrows it ([`ok_of`], [`update_of`]).
//!
//! Where the drafts contradict themselves the wider reading is taken, because a miss ends the
//! session: SUBSCRIBE_TRACKS admits, from 20 on, whatever SUBSCRIBE admits, and the answer to
//! TRACK_STATUS admits what SUBSCRIBE_OK does.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.2.1 to 10.2.14; 20, Sections 10.2 and 10.20.1.

use super::OUT_OF_SCOPE;
use crate::moqt::draft::{ParameterTable, Profile};
use crate::moqt::error::ProtocolError;
use crate::moqt::message::{MessageKind, RequestKind};

/// A set of parameter types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys(u64);

impl Keys {
    pub(super) const NONE: Self = Self(0);
    pub(super) const RANGE_FILTERS: Self = Self::of(&[0x25, 0x26, 0x27, 0x28, 0x29]);
    pub(super) const REPEATABLE: Self = Self::RANGE_FILTERS.and(&[0x03]);

    pub(super) const fn of(keys: &[u8]) -> Self {
        Self::NONE.and(keys)
    }

    /// These and those.
    const fn and(self, keys: &[u8]) -> Self {
        let mut set = self.0;
        let mut index = 0;
        while index < keys.len() {
            set |= 1 << keys[index];
            index += 1;
        }
        Self(set)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn has(self, key: u64) -> bool {
        key < 64 && self.0 >> key & 1 == 1
    }

    pub(super) const fn set(&mut self, key: u8, present: bool) {
        self.0 |= (present as u64) << key;
    }

    pub(super) const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The smallest, if any.
    pub(super) const fn first(self) -> Option<u64> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0.trailing_zeros() as u64)
        }
    }
}

const TOKEN: Keys = Keys::of(&[0x03]);

const KNOWN_18: Keys = Keys::of(&[
    0x02, 0x03, 0x04, 0x06, 0x08, 0x09, 0x0A, 0x10, 0x20, 0x21, 0x22, 0x32, 0x34,
]);
const KNOWN_20: Keys = KNOWN_18.or(Keys::RANGE_FILTERS).and(&[0x23, 0x35]);

/// What a FILL_PARAMETERS block may hold (20 and later).
pub(super) const IN_FILL: Keys = Keys::of(&[0x0A, 0x20, 0x21, 0x22, 0x25, 0x26, 0x27, 0x28]);

const SUBSCRIBE_18: Keys = Keys::of(&[0x02, 0x03, 0x04, 0x06, 0x10, 0x20, 0x21, 0x22, 0x32]);
const SUBSCRIBE_20: Keys = SUBSCRIBE_18.and(&[0x23, 0x25, 0x26, 0x27, 0x28, 0x35]);
/// SUBSCRIBE_OK, and REQUEST_OK to TRACK_STATUS and REQUEST_UPDATE.
const STATE: Keys = Keys::of(&[0x08, 0x09]);
const EXPIRES: Keys = Keys::of(&[0x08]);
const PUBLISH_OK_18: Keys = Keys::of(&[0x02, 0x06, 0x08, 0x10, 0x20, 0x21, 0x22, 0x32]);
const UPDATE_SUBSCRIPTION_18: Keys = Keys::of(&[0x02, 0x03, 0x06, 0x10, 0x20, 0x21, 0x32]);
const UPDATE_SUBSCRIPTION_20: Keys = UPDATE_SUBSCRIPTION_18.and(&[0x23, 0x25, 0x26, 0x27, 0x28]);
const UPDATE_FETCH: Keys = Keys::of(&[0x03, 0x20]);
const UPDATE_SUBSCRIBE_NAMESPACE: Keys = Keys::of(&[0x03, 0x34]);
const UPDATE_SUBSCRIBE_TRACKS_20: Keys = UPDATE_SUBSCRIPTION_20.and(&[0x22, 0x29, 0x34]);

/// Every parameter that the draft defines.
pub(super) const fn known(profile: &Profile) -> Keys {
    match profile.parameter_table {
        ParameterTable::Eighteen => KNOWN_18,
        ParameterTable::Twenty => KNOWN_20,
    }
}

/// What a message of this kind may carry.
pub(super) const fn of_message(profile: &Profile, message: MessageKind) -> Keys {
    match profile.parameter_table {
        ParameterTable::Eighteen => of_message_18(message),
        ParameterTable::Twenty => of_message_20(message),
    }
}

/// What a REQUEST_OK to this request may carry.
pub(super) const fn ok_of(profile: &Profile, request: RequestKind) -> Keys {
    use RequestKind as R;
    match (profile.parameter_table, request) {
        (ParameterTable::Eighteen, R::Publish) => PUBLISH_OK_18,
        (_, R::Subscribe | R::Fetch | R::TrackStatus | R::Update) => STATE,
        (ParameterTable::Eighteen, _) => Keys::NONE,
        (ParameterTable::Twenty, _) => EXPIRES,
    }
}

/// What a REQUEST_UPDATE of this request may carry.
pub(super) const fn update_of(profile: &Profile, request: RequestKind) -> Keys {
    use RequestKind as R;
    match (profile.parameter_table, request) {
        (ParameterTable::Eighteen, R::Subscribe | R::Publish) => UPDATE_SUBSCRIPTION_18,
        (ParameterTable::Twenty, R::Subscribe | R::Publish) => UPDATE_SUBSCRIPTION_20,
        (_, R::Fetch) => UPDATE_FETCH,
        (_, R::PublishNamespace) => TOKEN,
        (_, R::SubscribeNamespace) | (ParameterTable::Eighteen, R::SubscribeTracks) => {
            UPDATE_SUBSCRIBE_NAMESPACE
        }
        (ParameterTable::Twenty, R::SubscribeTracks) => UPDATE_SUBSCRIBE_TRACKS_20,
        (_, R::TrackStatus | R::Update) => Keys::NONE,
    }
}

/// The peer's parameters must be among these.
pub(super) fn check(present: Keys, allowed: Keys) -> Result<(), ProtocolError> {
    if present.without(allowed) == Keys::NONE {
        Ok(())
    } else {
        Err(OUT_OF_SCOPE)
    }
}

const fn of_message_18(message: MessageKind) -> Keys {
    use MessageKind as M;
    match message {
        M::Subscribe => SUBSCRIBE_18,
        M::SubscribeOk => STATE,
        M::Publish => Keys::of(&[0x03, 0x08, 0x09, 0x10]),
        M::RequestOk => PUBLISH_OK_18.or(STATE),
        M::RequestUpdate => UPDATE_SUBSCRIPTION_18.or(UPDATE_SUBSCRIBE_NAMESPACE),
        M::Fetch => Keys::of(&[0x03, 0x0A, 0x20, 0x22]),
        M::SubscribeTracks => Keys::of(&[0x03, 0x10]),
        M::TrackStatus | M::PublishNamespace | M::SubscribeNamespace => TOKEN,
        _ => Keys::NONE,
    }
}

const fn of_message_20(message: MessageKind) -> Keys {
    use MessageKind as M;
    match message {
        M::Subscribe => SUBSCRIBE_20,
        M::SubscribeTracks => SUBSCRIBE_20.and(&[0x29]),
        M::SubscribeOk | M::RequestOk => STATE,
        M::Publish => Keys::of(&[0x02, 0x03, 0x06, 0x08, 0x09, 0x10, 0x20, 0x21, 0x22]),
        M::PublishStateNotify => Keys::of(&[0x09, 0x10, 0x21]),
        M::RequestUpdate => UPDATE_SUBSCRIBE_TRACKS_20.without(Keys::of(&[0x22])),
        M::Fetch => Keys::of(&[0x03, 0x0A, 0x20, 0x21, 0x22, 0x25, 0x26, 0x27, 0x28, 0x35]),
        M::TrackStatus => Keys::of(&[0x03, 0x35]),
        M::PublishNamespace | M::SubscribeNamespace => TOKEN,
        _ => Keys::NONE,
    }
}
