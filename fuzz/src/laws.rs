//! Laws that every target shares: what a fault must say, and how much memory an input may take.

use crate::MEMORY;
use mainstem_core::moqt::object::DataFault;
use mainstem_core::moqt::{EncodeError, ProtocolError};

/// Runs `body` and holds the memory that it took at any one time against `bytes_max`.
///
/// The count is of the whole process: nothing else may run beside it.
pub fn within(bytes_max: usize, body: impl FnOnce()) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    body();
    let peak = MEMORY.peak_usage().saturating_sub(before);
    assert!(peak <= bytes_max, "took {peak} bytes, {bytes_max} allowed");
}

/// A peer's fault has a code that the specification names, and words.
pub fn check_fault(fault: &ProtocolError) {
    assert!(fault.code.name().is_some(), "no such code: {fault:?}");
    assert!(!fault.reason.is_empty(), "a fault without words");
}

/// The same on a data stream, where the fault may be the track's alone.
pub fn check_data_fault(fault: &DataFault) {
    match fault {
        DataFault::Session(fault) => check_fault(fault),
        DataFault::Track(reason) => assert!(!reason.is_empty(), "a fault without words"),
    }
}

/// What was read may be too long to be written again, because bytes that are no text became longer,
/// and a fetch may end before it starts, which is answered with INVALID_RANGE and not with a close.
/// Nothing else may stand in the way.
pub fn check_unwritable(error: &EncodeError) {
    let is_known = match error {
        EncodeError::TooLong { .. } => true,
        EncodeError::Invalid(reason) => *reason == "a fetch must not end before it starts",
        EncodeError::NotExpressible { .. } | EncodeError::OutOfScope { .. } => false,
    };
    assert!(is_known, "what was read cannot be written: {error}");
}
