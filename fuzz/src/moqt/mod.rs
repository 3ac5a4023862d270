//! Targets over the wire of MoQT: what is read, what is written, and how it may be cut.

pub mod control;
pub mod legacy;
pub mod messages;
pub mod objects;
pub mod values;
