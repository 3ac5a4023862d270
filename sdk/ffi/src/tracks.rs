//! What the C functions do, in safe Rust: handles and values in, handles and values out.
//!
//! A handle that is returned is 0 when there is none; why is logged. A subscription without a filter
//! begins as with [`LARGEST_OBJECT`].

use crate::handles::Table;
use bytes::Bytes;
use mainstem_client::{
    Arrival, BROADCAST_TRACK, Client, Config, Error, Format, Frame, Publication, Start, State,
    Subscription, TrackInfo,
};

/// The filter of subscriptions that name none.
pub(crate) const LARGEST_OBJECT: u32 = 2;
const NEXT_GROUP_START: u32 = 1;
const ABSOLUTE_START: u32 = 3;
const ABSOLUTE_RANGE: u32 = 4;

/// Audio, frame and video handles do not stand for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Audio,
    Frame,
    Video,
}

struct Published {
    client: usize,
    kind: Kind,
    publication: Publication,
}

struct Subscribed {
    client: usize,
    kind: Kind,
    subscription: Subscription,
}

static CLIENTS: Table<Client> = Table::new();
static PUBLISHED: Table<Published> = Table::new();
static SUBSCRIBED: Table<Subscribed> = Table::new();

pub(crate) fn connect(
    url: &str,
    token: &str,
    mut on_state: impl FnMut(State) + Send + 'static,
) -> usize {
    let config = Config {
        token: Some(token.to_owned()),
        ..Config::new(url)
    };
    let on_state = Box::new(move |state, _: Option<&_>| on_state(state));
    match Client::connect(&config, on_state) {
        Ok(client) => CLIENTS.insert(client),
        Err(error) => refused("connect", &error),
    }
}

pub(crate) fn close_client(handle: usize) {
    let Some(client) = CLIENTS.take(handle) else {
        return;
    };
    // It ends all tracks at once, and waits for them together.
    client.close();
    drop(PUBLISHED.take_where(|it| it.client == handle));
    drop(SUBSCRIBED.take_where(|it| it.client == handle));
}

pub(crate) fn publish(
    client: usize,
    kind: Kind,
    (namespace, name): (&str, &str),
    (capability, schema): (&str, &str),
    default_priority: u8,
) -> usize {
    let Some(open) = CLIENTS.find(client) else {
        return 0;
    };
    let format = match kind {
        Kind::Audio => Format::Audio,
        Kind::Video => Format::Video,
        Kind::Frame if name == BROADCAST_TRACK => Format::Broadcast,
        Kind::Frame => Format::Frames,
    };
    let track = TrackInfo {
        format,
        capability,
        schema,
        priority: default_priority,
    };
    match open.publish(namespace, name, &track) {
        Ok(publication) => PUBLISHED.insert(Published {
            client,
            kind,
            publication,
        }),
        Err(error) => refused("publish", &error),
    }
}

pub(crate) fn write_audio(handle: usize, timestamp_us: u64, data: Bytes) {
    write(handle, Kind::Audio, |it| {
        it.publication.write_audio(timestamp_us, data)
    });
}

pub(crate) fn write_frame(handle: usize, timestamp_us: u64, priority: u8, data: Bytes) {
    write(handle, Kind::Frame, |it| {
        it.publication.write(timestamp_us, priority, data)
    });
}

pub(crate) fn write_video(handle: usize, timestamp_us: u64, is_key: bool, data: Bytes) {
    write(handle, Kind::Video, |it| {
        it.publication.write_video(timestamp_us, is_key, data)
    });
}

fn write(handle: usize, kind: Kind, write: impl FnOnce(&Published) -> Result<(), Error>) {
    let found = PUBLISHED.find(handle).filter(|it| it.kind == kind);
    if let Some(Err(error)) = found.map(|it| write(&it)) {
        tracing::warn!(%error, "a write was lost");
    }
}

pub(crate) fn subscriber_count(handle: usize, kind: Kind) -> usize {
    let found = PUBLISHED.find(handle).filter(|it| it.kind == kind);
    found.map_or(0, |it| it.publication.subscribers())
}

pub(crate) fn close_publication(handle: usize, kind: Kind) {
    if PUBLISHED.find(handle).is_some_and(|it| it.kind == kind)
        && let Some(published) = PUBLISHED.take(handle)
    {
        published.publication.close();
    }
}

pub(crate) fn subscribe(
    client: usize,
    kind: Kind,
    (namespace, name): (&str, &str),
    filter: u32,
    mut on_frame: impl FnMut(Frame) + Send + 'static,
) -> usize {
    let Some(open) = CLIENTS.find(client) else {
        return 0;
    };
    let start = match filter {
        NEXT_GROUP_START => Start::NextGroup,
        // A decoder cannot begin in the middle of a group.
        LARGEST_OBJECT if kind == Kind::Video => Start::Newest,
        LARGEST_OBJECT => Start::NextObject,
        ABSOLUTE_START | ABSOLUTE_RANGE => Start::Retained,
        _ => return 0,
    };
    let handler = Box::new(move |arrival| {
        if let Arrival::Frame(frame) = arrival {
            on_frame(frame);
        }
    });
    match open.subscribe(namespace, name, start, handler) {
        Ok(subscription) => SUBSCRIBED.insert(Subscribed {
            client,
            kind,
            subscription,
        }),
        Err(error) => refused("subscribe", &error),
    }
}

pub(crate) fn close_subscription(handle: usize, kind: Kind) {
    if SUBSCRIBED.find(handle).is_some_and(|it| it.kind == kind)
        && let Some(subscribed) = SUBSCRIBED.take(handle)
    {
        subscribed.subscription.close();
    }
}

fn refused(what: &str, error: &Error) -> usize {
    tracing::warn!(%error, "cannot {what}");
    0
}
