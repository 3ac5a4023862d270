//! [`Bench`]: what a case works with. It opens sessions and remembers them for the report.

use super::fault::Fault;
use super::party::Party;
use crate::connect::Manners;
use mainstem_core::moqt::message::Message;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::{Draft, FullTrackName, RequestId, TrackNamespace};
use mainstem_net::ClientConfig;

/// The relay under test, and one case's sessions with it.
pub(crate) struct Bench {
    config: ClientConfig,
    is_verbose: bool,
    manners: Manners,
    /// Each session in order of opening.
    pub(crate) sessions: Vec<Opened>,
}

/// A session of a case, for the report.
pub(crate) struct Opened {
    pub(crate) role: String,
    pub(crate) draft: Draft,
    /// In hex.
    pub(crate) connection_id: Option<String>,
}

impl Bench {
    /// A bench for one case.
    pub(crate) fn new(config: ClientConfig, is_verbose: bool, manners: Manners) -> Self {
        Self {
            config,
            is_verbose,
            manners,
            sessions: Vec::new(),
        }
    }

    /// Opens a session.
    pub(crate) fn connect(&mut self, role: &str) -> Result<Party, Fault> {
        let party = Party::connect(role, self.config.clone(), self.is_verbose, self.manners)?;
        self.note(role, &party);
        Ok(party)
    }

    /// Opens a session without the URL's query, where a token may be.
    pub(crate) fn connect_bare(&mut self, role: &str) -> Result<Party, Fault> {
        let mut config = self.config.clone();
        config
            .url
            .truncate(config.url.find('?').unwrap_or(config.url.len()));
        let party = Party::connect(role, config, self.is_verbose, self.manners)?;
        self.note(role, &party);
        Ok(party)
    }

    fn note(&mut self, role: &str, party: &Party) {
        self.sessions.push(Opened {
            role: role.to_owned(),
            draft: party.draft(),
            connection_id: party.connection_id().map(str::to_owned),
        });
    }

    /// Opens a publisher's session that announces `namespace`.
    pub(crate) fn announce(
        &mut self,
        role: &str,
        namespace: &TrackNamespace,
    ) -> Result<(Party, RequestId), Fault> {
        let mut party = self.connect(role)?;
        let request = announce(&mut party, namespace)?;
        Ok((party, request))
    }
}

/// Announces a namespace and waits for the relay's agreement.
pub(crate) fn announce(party: &mut Party, namespace: &TrackNamespace) -> Result<RequestId, Fault> {
    let namespace = namespace.clone();
    let request = party.ask("PUBLISH_NAMESPACE", move |session| {
        session.publish_namespace(namespace, Parameters::default())
    })?;
    party.accepted(request, "REQUEST_OK to PUBLISH_NAMESPACE")?;
    Ok(request)
}

/// Asks for a track; the answer is still to come.
pub(crate) fn subscribe(
    party: &Party,
    track: &FullTrackName,
    parameters: Parameters,
) -> Result<RequestId, Fault> {
    let track = track.clone();
    party.ask("SUBSCRIBE", move |session| {
        session.subscribe(track, parameters)
    })
}

/// Waits until the relay asks this publisher for `track`.
pub(crate) fn asked_for(
    publisher: &mut Party,
    track: &FullTrackName,
) -> Result<(RequestId, Parameters), Fault> {
    let track = track.clone();
    publisher.requested("the relay's SUBSCRIBE", move |message| match message {
        Message::Subscribe(subscribe) if subscribe.track == track => {
            Some(subscribe.parameters.clone())
        }
        _ => None,
    })
}

/// A name with the fields of `path`.
pub(crate) fn name(path: &str) -> Result<TrackNamespace, Fault> {
    TrackNamespace::from_path(path).map_err(|error| Fault::failed(error.to_string()))
}

/// The track `track` of `namespace`.
pub(crate) fn track(
    namespace: &TrackNamespace,
    track: &'static str,
) -> Result<FullTrackName, Fault> {
    FullTrackName::new(namespace.clone(), track.into())
        .map_err(|error| Fault::failed(error.to_string()))
}
