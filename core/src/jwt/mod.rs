//! Playback and relay tokens: mint and verify, time as a parameter.
