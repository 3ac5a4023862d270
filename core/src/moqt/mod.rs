//! Media over QUIC Transport: wire, session, relay.
