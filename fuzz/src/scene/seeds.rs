//! Scripts of sessions that went well: what core's tests of mutated sessions record of real ones.

use super::script::{self, Step};
use crate::captures::{Capture, Target};
use mainstem_core::moqt::Draft;
use mainstem_core::transport::{Carrier, Input, StreamEvent};
use std::time::Duration;

/// Scripts for machines of this kind, after `header`.
pub(crate) fn of(target: Target, header: &[u8]) -> Vec<Vec<u8>> {
    let captures = Capture::all();
    let wanted = captures.iter().filter(|capture| capture.target == target);
    wanted.map(|capture| scripted(capture, header)).collect()
}

fn scripted(capture: &Capture, header: &[u8]) -> Vec<u8> {
    let mut out = header.to_vec();
    for input in &capture.inputs {
        if let Some(step) = step_of(input) {
            script::write(0, &step, &mut out);
        }
    }
    script::write(0, &Step::Wait(Duration::from_secs(1)), &mut out);
    out
}

fn step_of(input: &Input) -> Option<Step> {
    Some(match input {
        Input::Opened { opened, .. } => Step::Open {
            protocol: Draft::from_protocol(&opened.protocol)?.protocol(),
            carrier: Carrier::Quic,
            path: "/".to_owned(),
        },
        Input::Stream { stream, event, .. } => match event {
            StreamEvent::Data(data) => Step::Data(*stream, data.clone()),
            StreamEvent::Finished => Step::Finished(*stream),
            StreamEvent::Reset(code) => Step::Reset(*stream, *code),
            StreamEvent::Stopped(code) => Step::Stopped(*stream, *code),
            // The stage answers writes itself.
            StreamEvent::Writable => return None,
        },
        Input::Datagram { data, .. } => Step::Datagram(data.clone()),
        Input::Closed { .. } => Step::Lost,
    })
}

/// Two scripts of a relay at once, in two slots, step by step by turns.
pub(crate) fn together(one: &Capture, other: &Capture, header: &[u8]) -> Vec<u8> {
    let mut out = header.to_vec();
    let steps = |capture: &Capture| capture.inputs.iter().filter_map(step_of).collect();
    let (one, other): (Vec<_>, Vec<_>) = (steps(one), steps(other));
    for index in 0..one.len().max(other.len()) {
        for (slot, steps) in [(0, &one), (1, &other)] {
            if let Some(step) = steps.get(index) {
                script::write(slot, step, &mut out);
            }
        }
    }
    out
}
