//! [`Watching`]: viewers of one track, on one thread.

use mainstem_benches::histogram::Histogram;
use mainstem_core::moqt::name::FullTrackName;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::subscriber::{Event, Subscriber};
use mainstem_core::transport::SessionId;
use mainstem_net::{Client, ClientConfig, Clock};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a viewer may take to come in.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Ages of what arrived, of objects that were published from `from` on.
#[derive(Default)]
struct Ages {
    from: Option<Duration>,
    histogram: Histogram,
}

/// See the module's description.
pub(crate) struct Watching {
    client: Client<Subscriber>,
    sessions: Vec<SessionId>,
    ages: Arc<Mutex<Ages>>,
}

impl Watching {
    /// Connects them all and waits until the relay serves them.
    pub(crate) fn start(
        config: ClientConfig,
        clock: Clock,
        track: &FullTrackName,
        viewers: usize,
    ) -> anyhow::Result<Self> {
        let ages: Arc<Mutex<Ages>> = Arc::default();
        let (ready_sender, ready) = channel();
        let machine = Subscriber::new(mainstem_benches::session_config());
        let counted = Arc::clone(&ages);
        let client = Client::open(config, clock, machine, move |event| match event {
            Event::Object { object, .. } => {
                let at = clock.now().as_nanos();
                let head = object.payload.pieces().first();
                let sent = head.and_then(|piece| piece.first_chunk::<8>());
                let sent = sent.map_or(at, |sent| u64::from_be_bytes(*sent));
                let mut ages = counted.lock().unwrap_or_else(PoisonError::into_inner);
                if ages
                    .from
                    .is_some_and(|from| Duration::from_nanos(sent) >= from)
                {
                    let age = Duration::from_nanos(at.saturating_sub(sent));
                    ages.histogram.add(age);
                }
            }
            event => {
                // The receiver is gone once all viewers are in.
                let _ = ready_sender.send(event);
            }
        })?;
        for _ in 0..viewers {
            client.connect()?;
        }
        let mut accepted = 0;
        let mut sessions = Vec::with_capacity(viewers);
        while accepted < viewers {
            match ready.recv_timeout(JOIN_TIMEOUT) {
                Ok(Event::Ready { session }) => {
                    let track = track.clone();
                    sessions.push(session);
                    client.handle().ask(move |host, _| {
                        host.app_mut()
                            .subscribe(session, track, Parameters::default())
                    })??;
                }
                Ok(Event::Accepted { .. }) => accepted += 1,
                Ok(Event::SubgroupEnded { .. }) => {}
                other => anyhow::bail!("{accepted} of {viewers} viewers came in, then: {other:?}"),
            }
        }
        Ok(Self {
            client,
            sessions,
            ages,
        })
    }

    /// Counts objects that are published from now on.
    pub(crate) fn measure_from(&self, at: Duration) {
        self.ages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .from = Some(at);
    }

    /// All of them stop reading, for good.
    pub(crate) fn stall(&self) -> anyhow::Result<()> {
        for session in &self.sessions {
            let session = *session;
            self.client
                .handle()
                .ask(move |host, now| host.pause(now, session, true))?;
        }
        Ok(())
    }

    /// Says goodbye; the ages of what was counted.
    pub(crate) fn finish(self) -> Histogram {
        self.client.stop();
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut ages.histogram)
    }
}
