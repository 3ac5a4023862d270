//! Our codec against an independent one, moqtap-codec: both write the same bytes for the same
//! meaning, each reads what the other wrote, and damaged bytes are taken or refused alike.

mod convert;
mod fetches;
mod legacy;
mod messages;
mod objects;
