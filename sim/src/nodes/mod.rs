//! Nodes: what ships, on the network of a world, with its owner's duties.
//!
//! | node | machine | its owner's duties here |
//! |---|---|---|
//! | [`origin`] | core's `Publisher` | publishes by the clock, connects again, follows GOAWAY |
//! | [`relay`] | core's `Relay` | dials upstreams, resolves stream keys, tells the time |
//! | [`viewer`] | core's `Subscriber` | joins, asks again, connects again, follows GOAWAY, leaves |
//! | [`hostile`] | none | breaks the rules |
//!
//! A node is one life of a process: after a crash the world builds a new one. The world moves packets and
//! time, a node answers through [`Node`].

mod agenda;
pub mod catalogs;
pub mod content;
pub mod hostile;
mod meddle;
pub mod origin;
pub mod relay;
mod setting;
mod tokens;
pub mod transport;
pub mod viewer;

pub use meddle::Meddling;
pub use setting::{BuildError, Setting, WallClock, addressed};

use crate::check::Seen;
use crate::packet::{Outgoing, Packet};
use crate::plan::{NodeId, Role};
use mainstem_core::time::Instant;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// One life of a node.
pub trait Node {
    /// A packet arrived.
    fn handle_packet(&mut self, now: Instant, from: SocketAddr, packet: Packet);

    /// Time has passed. Early or repeated calls change nothing.
    fn handle_timeout(&mut self, now: Instant);

    /// When [`Node::handle_timeout`] is wanted.
    fn next_timeout(&self) -> Option<Instant>;

    /// The next packet to send, until `None`.
    fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing>;

    /// The next thing that a checker may want to know, until `None`.
    fn poll_seen(&mut self) -> Option<Seen>;

    /// The node's wall clock was changed.
    fn set_clock(&mut self, now: Instant, clock: WallClock);

    /// A relay goes away in order within a time, and sends everybody to another relay if there is
    /// one. Others do nothing.
    fn drain(&mut self, now: Instant, to: Option<NodeId>, timeout: Duration) {
        let _ = (now, to, timeout);
    }

    /// Some of the node's data streams end in the middle from now on.
    fn meddle(&mut self, meddling: Meddling);

    /// Leaves: ends all sessions and begins nothing more.
    fn leave(&mut self, now: Instant);

    /// How a relay stands; nothing for others.
    fn metrics(&self) -> Option<Seen> {
        None
    }

    /// What is left, where nothing should be: some seconds after [`Node::leave`].
    fn residue(&self) -> Option<&'static str>;
}

/// Begins a life of a node.
pub fn build(
    setting: &Rc<Setting>,
    id: NodeId,
    life: u16,
    now: Instant,
    clock: WallClock,
) -> Result<Box<dyn Node>, BuildError> {
    let Some(plan) = setting.plan.node(id) else {
        return Err(BuildError::NoSuchNode(id));
    };
    let context = setting::Context {
        setting: Rc::clone(setting),
        id,
        life,
        clock,
        limits: plan.limits.clone(),
    };
    Ok(match &plan.role {
        Role::Origin(origin) => Box::new(origin::Origin::new(context, origin, now)?),
        Role::Relay(relay) => Box::new(relay::RelayNode::new(context, relay, now)?),
        Role::Viewer(viewer) => Box::new(viewer::Viewer::new(context, viewer, now)?),
        Role::Hostile(hostile) => Box::new(hostile::Hostile::new(context, hostile, now)?),
    })
}
