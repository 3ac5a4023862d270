//! Kinds of messages, requests and streams.

use crate::moqt::draft::Draft;

/// The kind of a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "one to one with the variants of `Message`, which are documented"
)]
pub enum MessageKind {
    Setup,
    Goaway,
    RequestOk,
    RequestError,
    RequestUpdate,
    Subscribe,
    SubscribeOk,
    Publish,
    PublishDone,
    PublishStateNotify,
    PublishNamespace,
    Namespace,
    NamespaceDone,
    SubscribeNamespace,
    SubscribeTracks,
    PublishSkipped,
    TrackStatus,
    Fetch,
    FetchOk,
}

/// PUBLISH_OK as a type of its own, in the message table of 18.
const PUBLISH_OK: u64 = 0x1E;

impl MessageKind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Setup,
        Self::Goaway,
        Self::RequestOk,
        Self::RequestError,
        Self::RequestUpdate,
        Self::Subscribe,
        Self::SubscribeOk,
        Self::Publish,
        Self::PublishDone,
        Self::PublishStateNotify,
        Self::PublishNamespace,
        Self::Namespace,
        Self::NamespaceDone,
        Self::SubscribeNamespace,
        Self::SubscribeTracks,
        Self::PublishSkipped,
        Self::TrackStatus,
        Self::Fetch,
        Self::FetchOk,
    ];

    /// The wire type.
    pub const fn code(self) -> u64 {
        match self {
            Self::Setup => 0x2F00,
            Self::Goaway => 0x10,
            Self::RequestOk => 0x07,
            Self::RequestError => 0x05,
            Self::RequestUpdate => 0x02,
            Self::Subscribe => 0x03,
            Self::SubscribeOk => 0x04,
            Self::Publish => 0x1D,
            Self::PublishDone => 0x0B,
            Self::PublishStateNotify => 0x22,
            Self::PublishNamespace => 0x06,
            Self::Namespace => 0x08,
            Self::NamespaceDone => 0x0E,
            Self::SubscribeNamespace => 0x50,
            Self::SubscribeTracks => 0x51,
            Self::PublishSkipped => 0x0F,
            Self::TrackStatus => 0x0D,
            Self::Fetch => 0x16,
            Self::FetchOk => 0x18,
        }
    }

    /// The kind that a wire type means in this draft.
    pub fn from_code(draft: Draft, code: u64) -> Option<Self> {
        if code == PUBLISH_OK && draft.profile().publish_ok_type {
            return Some(Self::RequestOk);
        }
        Self::ALL
            .into_iter()
            .find(|kind| kind.code() == code)
            .filter(|kind| kind.exists_in(draft))
    }

    /// Whether the draft has this message.
    pub const fn exists_in(self, draft: Draft) -> bool {
        match self {
            Self::PublishStateNotify => draft.profile().publish_state_notify,
            Self::SubscribeTracks | Self::PublishSkipped => draft.profile().subscribe_tracks,
            _ => true,
        }
    }

    /// The request that a message of this kind opens, for those that begin a request stream.
    pub const fn opens(self) -> Option<RequestKind> {
        match self {
            Self::Subscribe => Some(RequestKind::Subscribe),
            Self::Publish => Some(RequestKind::Publish),
            Self::Fetch => Some(RequestKind::Fetch),
            Self::TrackStatus => Some(RequestKind::TrackStatus),
            Self::PublishNamespace => Some(RequestKind::PublishNamespace),
            Self::SubscribeNamespace => Some(RequestKind::SubscribeNamespace),
            Self::SubscribeTracks => Some(RequestKind::SubscribeTracks),
            _ => None,
        }
    }

    /// Whether it may be sent on this kind of stream.
    pub const fn is_allowed_on(self, role: StreamRole) -> bool {
        match role {
            StreamRole::Control => matches!(self, Self::Setup | Self::Goaway),
            StreamRole::Request => !matches!(self, Self::Setup),
        }
    }

    /// The specification's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "SETUP",
            Self::Goaway => "GOAWAY",
            Self::RequestOk => "REQUEST_OK",
            Self::RequestError => "REQUEST_ERROR",
            Self::RequestUpdate => "REQUEST_UPDATE",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubscribeOk => "SUBSCRIBE_OK",
            Self::Publish => "PUBLISH",
            Self::PublishDone => "PUBLISH_DONE",
            Self::PublishStateNotify => "PUBLISH_STATE_NOTIFY",
            Self::PublishNamespace => "PUBLISH_NAMESPACE",
            Self::Namespace => "NAMESPACE",
            Self::NamespaceDone => "NAMESPACE_DONE",
            Self::SubscribeNamespace => "SUBSCRIBE_NAMESPACE",
            Self::SubscribeTracks => "SUBSCRIBE_TRACKS",
            Self::PublishSkipped => "PUBLISH_SKIPPED",
            Self::TrackStatus => "TRACK_STATUS",
            Self::Fetch => "FETCH",
            Self::FetchOk => "FETCH_OK",
        }
    }
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// SUBSCRIBE.
    Subscribe,
    /// PUBLISH.
    Publish,
    /// FETCH.
    Fetch,
    /// TRACK_STATUS.
    TrackStatus,
    /// PUBLISH_NAMESPACE.
    PublishNamespace,
    /// SUBSCRIBE_NAMESPACE.
    SubscribeNamespace,
    /// SUBSCRIBE_TRACKS.
    SubscribeTracks,
    /// REQUEST_UPDATE on the stream of another request.
    Update,
}

/// Which streams carry control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRole {
    /// The unidirectional stream that begins with SETUP; one from each end.
    Control,
    /// A bidirectional stream, one per request.
    Request,
}
