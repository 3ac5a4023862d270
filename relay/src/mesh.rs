//! Upstreams as sockets see them: where their set comes from, and how each is connected to.
//!
//! What an upstream means, when it is dialled and what travels to it, the machine decides
//! ([`mainstem_core::moqt::relay::mesh`]). Here its wish [`Event::Dial`](mainstem_core::moqt::relay::Event::Dial)
//! becomes an address and a QUIC connection from the socket that serves as well.

use crate::server::command;
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::relay::Relay;
use mainstem_core::moqt::relay::mesh::{Upstream, UpstreamId};
use mainstem_core::transport::SessionId;
use mainstem_net::Handle;
use mainstem_quic::{ConnectRequest, Liveness, SessionUrl, TlsTrust};
use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// How soon an upstream that fell silent counts as lost.
pub(crate) const LIVENESS: Liveness = Liveness {
    idle_timeout: Duration::from_secs(4),
    keep_alive: Duration::from_millis(750),
};
/// Wishes to connect that may wait; the machine repeats what was lost.
pub(crate) const DIALS_MAX: usize = 64;
/// How long a name may take to become an address.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer of a [`Discovery`] under way.
pub type NextSet<'a> = Pin<Box<dyn Future<Output = Option<BTreeSet<Upstream>>> + Send + 'a>>;

/// Where the set of upstreams comes from: a stream of "the set is now this".
pub trait Discovery: Send {
    /// Waits for the next set. `None` when the last one stays for good.
    fn next(&mut self) -> NextSet<'_>;
}

/// A set that does not change.
#[derive(Debug, Default)]
pub struct StaticList(Option<BTreeSet<Upstream>>);

impl StaticList {
    /// These upstreams.
    pub fn new(upstreams: impl IntoIterator<Item = Upstream>) -> Self {
        Self(Some(upstreams.into_iter().collect()))
    }
}

impl Discovery for StaticList {
    fn next(&mut self) -> NextSet<'_> {
        Box::pin(std::future::ready(self.0.take()))
    }
}

/// What a relay needs to have upstreams.
pub struct Upstreams {
    /// Which there are.
    pub discovery: Box<dyn Discovery>,
    /// How to recognise them.
    pub trust: TlsTrust,
}

impl Default for Upstreams {
    fn default() -> Self {
        Self {
            discovery: Box::new(StaticList::default()),
            // There is nobody to be recognised.
            trust: TlsTrust::Pinned(Vec::new()),
        }
    }
}

/// Hands every set that discovery finds to the machine.
pub(crate) async fn follow_discovery(handle: Handle<Relay>, mut discovery: Box<dyn Discovery>) {
    while let Some(upstreams) = discovery.next().await {
        command(&handle, move |relay, now| {
            relay.set_upstreams(now, &upstreams);
        })
        .await;
    }
}

/// Does what the machine wishes: connects.
pub(crate) async fn dial(
    handle: Handle<Relay>,
    local: SocketAddr,
    trust: TlsTrust,
    mut wishes: mpsc::Receiver<(UpstreamId, String)>,
) {
    while let Some((upstream, url)) = wishes.recv().await {
        let (handle, trust) = (handle.clone(), trust.clone());
        // One name that is slow to resolve keeps nobody else waiting.
        tokio::spawn(async move {
            if let Err(reason) = connect(&handle, local, trust, upstream, &url).await {
                command(&handle, move |relay, now| {
                    relay.dialled(now, upstream, Err(reason));
                })
                .await;
            }
        });
    }
}

/// Begins a session and tells the machine its name, in one turn of the shard.
async fn connect(
    handle: &Handle<Relay>,
    local: SocketAddr,
    trust: TlsTrust,
    upstream: UpstreamId,
    url: &str,
) -> Result<(), String> {
    let url: SessionUrl = url
        .parse()
        .map_err(|error: mainstem_quic::UrlError| error.to_string())?;
    let to_resolve = url.clone();
    let resolve = tokio::task::spawn_blocking(move || mainstem_net::resolve(&to_resolve, local));
    let remote = tokio::time::timeout(RESOLVE_TIMEOUT, resolve)
        .await
        .map_err(|_| "the name was not resolved in time".to_owned())?
        .map_err(|_| "the name was not resolved".to_owned())?
        .map_err(|error| format!("the name was not resolved: {error}"))?;
    let protocols = Draft::ALL.iter().map(|draft| draft.protocol().to_owned());
    let request = ConnectRequest::new(&url, remote, protocols.collect(), trust);
    let handle = handle.clone();
    let begin = move || {
        handle.ask(move |host, now| {
            let session: SessionId = host.connect(now, request)?;
            host.app_mut().dialled(now, upstream, Ok(session));
            Ok::<_, mainstem_quic::ConnectError>(())
        })
    };
    match tokio::task::spawn_blocking(begin).await {
        Ok(Ok(begun)) => begun.map_err(|error| error.to_string()),
        // The relay is ending.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}
