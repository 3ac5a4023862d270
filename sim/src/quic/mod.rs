//! Real QUIC in a world: [`deterministic`] hands every source of entropy a seeded one.

pub mod deterministic;
