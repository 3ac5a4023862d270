//! What a session tells its owner, and what it cannot do for it.
//!
//! Events come out in the order in which things happened, mixed with transport work in one queue.
//! Source: draft-ietf-moq-transport-18 sections 5.1, 6, 9, 10.

use crate::moqt::error::{PublishDoneCode, StreamCode};
use crate::moqt::message::{
    FetchOk, Goaway, Message, RequestError, RequestOk, SetupOption, SubscribeOk,
};
use crate::moqt::name::{Location, RequestId, TrackName, TrackNamespace};
use crate::moqt::object::{GapKind, Object, SubgroupHeader};
use crate::moqt::parameter::{AuthorizationToken, Parameters};
use crate::time::Instant;
use crate::transport::{Closed, StreamId, Target};

/// What the peer said in its SETUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where the client wants to go, from the WebTransport request or from SETUP. Servers only.
    pub target: Option<Target>,
    /// Tokens given for the whole session, by value.
    pub tokens: Vec<AuthorizationToken>,
    /// The peer's name and version, if it told.
    pub implementation: Option<String>,
    /// Options of extensions, the peer's grease among them.
    pub options: Vec<SetupOption>,
}

/// How a data stream of the peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// All objects arrived.
    Finished,
    /// Abandoned with this code.
    Reset(StreamCode),
}

/// A positive answer to a request of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// To SUBSCRIBE.
    Subscribe(SubscribeOk),
    /// To FETCH. The objects come on a stream of their own, before or after this.
    Fetch(FetchOk),
    /// To everything else.
    Request(RequestOk),
}

/// What happened in the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer's SETUP arrived; requests follow.
    Ready(Ready),
    /// The peer asks; answer with `accept`, `accept_subscribe`, `accept_fetch` or `reject`.
    Request {
        /// The request's name.
        request: RequestId,
        /// One of the messages that begin a request stream.
        message: Message,
    },
    /// The peer agreed to a request of ours.
    Accepted {
        /// The request.
        request: RequestId,
        /// The answer.
        accepted: Accepted,
    },
    /// The peer refused a request of ours; the request is gone.
    Rejected {
        /// The request.
        request: RequestId,
        /// Why.
        error: RequestError,
    },
    /// The peer changes a request; answer with `accept_update` or `reject_update`.
    Update {
        /// The request.
        request: RequestId,
        /// The update's own id: a fill that it asks for is opened in its name.
        update: RequestId,
        /// The changes.
        parameters: Parameters,
    },
    /// The peer answered an update of ours.
    Updated {
        /// The request.
        request: RequestId,
        /// The answer.
        answer: Result<RequestOk, RequestError>,
    },
    /// A namespace that matches a SUBSCRIBE_NAMESPACE of ours is being published.
    Namespace {
        /// The SUBSCRIBE_NAMESPACE.
        request: RequestId,
        /// What follows the prefix.
        suffix: TrackNamespace,
    },
    /// It is no longer.
    NamespaceDone {
        /// The SUBSCRIBE_NAMESPACE.
        request: RequestId,
        /// What follows the prefix.
        suffix: TrackNamespace,
    },
    /// The publisher changed a subscription of ours by itself (20 and later).
    StateNotified {
        /// The subscription.
        request: RequestId,
        /// What changed, of LARGEST_OBJECT, FORWARD and LOCATION_FILTER.
        parameters: Parameters,
    },
    /// A track that matches a SUBSCRIBE_TRACKS of ours will not be published to us.
    PublishSkipped {
        /// The SUBSCRIBE_TRACKS.
        request: RequestId,
        /// What follows the prefix.
        suffix: TrackNamespace,
        /// The track's name.
        name: TrackName,
    },
    /// The publisher ended a subscription of ours, and its data streams are in; the request is gone.
    PublishDone {
        /// The subscription.
        request: RequestId,
        /// Why.
        code: PublishDoneCode,
        /// The publisher's words.
        reason: String,
    },
    /// The peer gave up a request, ours or its own; the request is gone.
    Cancelled {
        /// The request.
        request: RequestId,
        /// The code, where the peer gave one.
        code: Option<StreamCode>,
    },
    /// The peer is going away, with all of the session.
    Goaway(Goaway),
    /// The peer wants one request to move: it should be asked for again, where the message says,
    /// and be given up here.
    RequestGoaway {
        /// The request, of either end.
        request: RequestId,
        /// Where and how soon.
        goaway: Goaway,
    },
    /// An object of a subscription of ours arrived whole.
    Object {
        /// The subscription.
        request: RequestId,
        /// The stream it came on.
        stream: StreamId,
        /// That stream's header.
        header: SubgroupHeader,
        /// The object, its subgroup set.
        object: Object,
        /// When its header was here; the payload may have taken longer.
        began: Instant,
    },
    /// A subgroup stream of the peer ended.
    SubgroupEnded {
        /// The subscription.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// Its group.
        group: u64,
        /// Its subgroup; `None` when no object told.
        subgroup: Option<u64>,
        /// How.
        end: StreamEnd,
    },
    /// An object arrived in a datagram.
    Datagram {
        /// The subscription.
        request: RequestId,
        /// The object, without a subgroup.
        object: Object,
    },
    /// An object of a fetch of ours, or of the fill of a subscription of ours, arrived whole.
    FetchObject {
        /// The FETCH, or the subscription that is being filled.
        request: RequestId,
        /// The stream it came on.
        stream: StreamId,
        /// The object, its priority set.
        object: Object,
    },
    /// Objects of such a stream are missing: what follows the last item, up to `end`.
    FetchGap {
        /// The FETCH, or the subscription that is being filled.
        request: RequestId,
        /// The stream it came on.
        stream: StreamId,
        /// Why.
        kind: GapKind,
        /// The last missing place.
        end: Location,
    },
    /// The stream of a fetch or a fill ended. A FETCH is over once it is answered as well.
    FetchEnded {
        /// The FETCH, or the subscription that was being filled.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// How.
        end: StreamEnd,
    },
    /// The last notified write on a data stream of ours is with the transport.
    Writable {
        /// The subscription it belongs to.
        request: RequestId,
        /// The stream.
        stream: StreamId,
    },
    /// The peer wants no more of a data stream of ours; the stream is gone.
    Stopped {
        /// The subscription it belongs to.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// The peer's code.
        code: StreamCode,
    },
    /// The session is over.
    Closed(Closed),
}

/// A command that cannot be carried out: the owner's fault, or it came too late.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The session is closed or not ready.
    #[error("the session is not ready for requests")]
    NotReady,
    /// No such request, or it is over.
    #[error("no open request {0:?}")]
    UnknownRequest(RequestId),
    /// The request is of another kind or in another state than the command needs.
    #[error("the command does not fit request {0:?}")]
    WrongRequest(RequestId),
    /// No such data stream, or it is over.
    #[error("no open data stream {0:?}")]
    UnknownStream(StreamId),
    /// Too many open requests.
    #[error("{limit} requests are open, the limit")]
    TooManyRequests {
        /// The limit.
        limit: usize,
    },
    /// As many updates of one request await their answer as the peer allows.
    #[error("{limit} updates of the request await their answer, the limit")]
    TooManyUpdates {
        /// The limit.
        limit: usize,
    },
    /// The peer sent GOAWAY.
    #[error("the peer is going away")]
    GoingAway,
    /// The message cannot be written at this draft.
    #[error(transparent)]
    Encode(#[from] crate::moqt::error::EncodeError),
}
