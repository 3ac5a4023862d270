//! [`Feed`]: one publisher of one track.
//!
//! Groups of a fixed number of objects in one subgroup; each payload begins with the time of its
//! publication on the generator's clock, in nanoseconds, so that viewers of the same process know
//! its age.

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::{Event, Publisher};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::payload::Payload;
use mainstem_net::{CallError, Client, ClientConfig, Clock};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long a relay may take to accept a namespace.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(10);
const INFO: SubgroupInfo = SubgroupInfo {
    priority: None,
    has_properties: false,
    end_of_group: true,
    first_object: true,
};

/// How a feed's objects look.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Objects a second.
    pub rate: u32,
    /// Bytes of each payload, at least 8.
    pub object_bytes: usize,
    /// Objects of a group.
    pub group_objects: u64,
}

impl Shape {
    /// Group and object of the `number`-th object.
    pub fn place(&self, number: u64) -> (u64, u64) {
        (number / self.group_objects, number % self.group_objects)
    }
}

/// See the module's description.
pub struct Feed {
    client: Client<Publisher>,
    track: FullTrackName,
    shape: Shape,
    clock: Clock,
    began: Instant,
    published: u64,
}

impl Feed {
    /// Connects and announces; waits until the relay agrees.
    pub fn start(
        config: ClientConfig,
        clock: Clock,
        namespace: &str,
        shape: Shape,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            shape.object_bytes >= 8 && shape.group_objects > 0 && shape.rate > 0,
            "expected objects of at least 8 bytes, groups of at least one and a rate, not {shape:?}"
        );
        let namespace = TrackNamespace::from_path(namespace)?;
        let name = TrackName(Bytes::from_static(b"video"));
        let track = FullTrackName::new(namespace, name)?;
        let mut machine = Publisher::new(crate::session_config(), track::Limits::default());
        machine.announce(clock.now(), track.namespace.clone());
        machine.create_track(track.clone(), Properties::default());
        let (sender, events) = channel();
        let client = Client::open(config, clock, machine, move |event| {
            // The receiver is gone once the namespace is announced.
            let _ = sender.send(event);
        })?;
        client.connect()?;
        match events.recv_timeout(ANNOUNCE_TIMEOUT) {
            Ok(Event::Announced { .. }) => Ok(Self {
                client,
                track,
                shape,
                clock,
                began: Instant::now(),
                published: 0,
            }),
            other => anyhow::bail!("the relay does not take the namespace: {other:?}"),
        }
    }

    /// Its track.
    pub fn track(&self) -> &FullTrackName {
        &self.track
    }

    /// Objects published so far.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// The group that is being published.
    pub fn newest_group(&self) -> u64 {
        self.shape.place(self.published.saturating_sub(1)).0
    }

    /// When the next object is due.
    pub fn due(&self) -> Instant {
        let seconds = crate::as_f64(self.published) / f64::from(self.shape.rate);
        self.began + Duration::from_secs_f64(seconds)
    }

    /// Publishes the next object, whether it is due or not.
    pub fn publish(&mut self) -> anyhow::Result<()> {
        let (group, object) = self.shape.place(self.published);
        let mut payload = BytesMut::zeroed(self.shape.object_bytes);
        if let Some(mut head) = payload.get_mut(..8) {
            head.put_u64(self.clock.now().as_nanos());
        }
        let payload = Payload::from(payload.freeze());
        let is_last = object + 1 == self.shape.group_objects;
        loop {
            let object = Object {
                group,
                object,
                subgroup: Some(0),
                payload: payload.clone(),
                ..Object::default()
            };
            let track = self.track.clone();
            let call = self.client.handle().call(move |host, now| {
                host.app_mut().publish(now, &track, INFO, object);
                if is_last {
                    host.app_mut().end_subgroup(now, &track, group, 0);
                }
            });
            match call {
                Ok(()) => break,
                Err(CallError::Full) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => return Err(error).context("the publisher ended"),
            }
        }
        self.published += 1;
        Ok(())
    }

    /// Says goodbye.
    pub fn stop(self) {
        self.client.stop();
    }
}
