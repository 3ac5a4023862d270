//! Integers and the registries of codes.

use crate::arbitrary::{compared, integer};
use crate::convert::written;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::varint;
use moq_transport::coding::{Decode, VarInt};
use moq_transport::data::DataStreamResetCode as TheirStream;
use moq_transport::message::{PublishDoneCode as TheirDone, RequestErrorCode as TheirRequest};
use proptest::prelude::*;

proptest! {
    #![proptest_config(compared(2000))]

    #[test]
    fn integers_mean_the_same_to_both(value in integer()) {
        let mut ours = Vec::new();
        varint::encode(value, &mut ours);
        prop_assert_eq!(&written(&VarInt::from(value)), &ours);
        prop_assert_eq!(VarInt::decode(&mut &ours[..]).unwrap().into_inner(), value);
    }

    #[test]
    fn any_bytes_are_the_same_integer_to_both(bytes in proptest::collection::vec(any::<u8>(), 0..10)) {
        let mut rest = &bytes[..];
        let theirs = VarInt::decode(&mut rest).ok();
        let theirs = theirs.map(|value| (value.into_inner(), bytes.len() - rest.len()));
        prop_assert_eq!(varint::decode(&bytes), theirs);
    }
}

/// The two lists name the same values, in order.
macro_rules! agree {
    ($ours:ident, $theirs:ident: $($our_name:ident $their_name:ident)*) => {
        $(assert_eq!($ours::$our_name.0, $theirs::$their_name as u64, stringify!($our_name));)*
    };
}

#[test]
fn codes_have_the_same_values_for_both() {
    agree!(RequestCode, TheirRequest:
        INTERNAL_ERROR InternalError UNAUTHORIZED Unauthorized TIMEOUT Timeout
        NOT_SUPPORTED NotSupported MALFORMED_AUTH_TOKEN MalformedAuthToken
        EXPIRED_AUTH_TOKEN ExpiredAuthToken GOING_AWAY GoingAway EXCESSIVE_LOAD ExcessiveLoad
        DOES_NOT_EXIST DoesNotExist INVALID_RANGE InvalidRange MALFORMED_TRACK MalformedTrack
        DUPLICATE_SUBSCRIPTION DuplicateSubscription UNINTERESTED Uninterested
        PREFIX_OVERLAP PrefixOverlap NAMESPACE_TOO_LARGE NamespaceTooLarge
        INVALID_JOINING_REQUEST_ID InvalidJoiningRequestId
        UNSUPPORTED_EXTENSION UnsupportedExtension REDIRECT Redirect);
    agree!(PublishDoneCode, TheirDone:
        INTERNAL_ERROR InternalError UNAUTHORIZED Unauthorized TRACK_ENDED TrackEnded
        SUBSCRIPTION_ENDED SubscriptionEnded GOING_AWAY GoingAway TOO_FAR_BEHIND TooFarBehind
        EXPIRED Expired UPDATE_FAILED UpdateFailed EXCESSIVE_LOAD ExcessiveLoad
        MALFORMED_TRACK MalformedTrack);
    agree!(StreamCode, TheirStream:
        INTERNAL_ERROR InternalError CANCELLED Cancelled DELIVERY_TIMEOUT DeliveryTimeout
        SESSION_CLOSED SessionClosed GOING_AWAY GoingAway TOO_FAR_BEHIND TooFarBehind
        UNKNOWN_OBJECT_STATUS UnknownObjectStatus EXPIRED_AUTH_TOKEN ExpiredAuthToken
        EXCESSIVE_LOAD ExcessiveLoad MALFORMED_TRACK MalformedTrack);
}
