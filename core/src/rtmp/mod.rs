//! RTMP server machine.
