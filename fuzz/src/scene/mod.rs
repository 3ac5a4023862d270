//! Whole machines with arbitrary input sequences.
//!
//! | module | what it holds |
//! |---|---|
//! | [`script`] | bytes as steps: sessions open, streams carry bytes and end, time passes, the owner commands |
//! | [`stage`] | plays a script to a machine as a host would, and holds what it does against the laws |
//! | [`relay`], [`clients`], [`session`] | which machine, and what its owner may say |
//! | [`seeds`] | scripts of sessions that went well |

pub mod clients;
pub mod relay;
pub mod script;
pub mod seeds;
pub mod session;
pub mod stage;
