//! An independent client: the `rml_rtmp` crate publishes to our server.

use bytes::Bytes;
use mainstem_core::rtmp::Limits;
use mainstem_core::rtmp::server::{Event, Input, Output, RefusalCode, Session};
use mainstem_core::time::Instant;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult,
    PublishRequestType, StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;

const NOW: Instant = Instant::ZERO;

/// Client and server with nothing but memory between them.
struct Pair {
    server: Session,
    client: ClientSession,
    accept: bool,
    server_events: Vec<Event>,
    client_events: Vec<ClientSessionEvent>,
}

impl Pair {
    /// After the handshake, in its digest form.
    fn new(accept: bool) -> Self {
        let mut server = Session::new(NOW, 3, Limits::default());
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().unwrap();
        server.handle(NOW, Input::Data(hello.into()));
        let Some(Output::Write(answer)) = server.poll() else {
            panic!("no answer to the handshake");
        };
        let Ok(HandshakeProcessResult::Completed { response_bytes, .. }) =
            handshake.process_bytes(&answer)
        else {
            panic!("the handshake is not complete");
        };
        server.handle(NOW, Input::Data(response_bytes.into()));
        let (client, results) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        let mut pair = Self {
            server,
            client,
            accept,
            server_events: Vec::new(),
            client_events: Vec::new(),
        };
        pair.run(results);
        pair
    }

    /// Carries what the client says, and the answers, until both are silent.
    fn run(&mut self, mut results: Vec<ClientSessionResult>) {
        while !results.is_empty() {
            for result in std::mem::take(&mut results) {
                match result {
                    ClientSessionResult::OutboundResponse(packet) => {
                        self.server.handle(NOW, Input::Data(packet.bytes.into()));
                    }
                    ClientSessionResult::RaisedEvent(event) => self.client_events.push(event),
                    ClientSessionResult::UnhandleableMessageReceived(_) => {}
                }
            }
            while let Some(output) = self.server.poll() {
                match output {
                    Output::Write(bytes) => {
                        results.extend(self.client.handle_input(&bytes).unwrap());
                    }
                    Output::Event(event) => self.server_event(event),
                    Output::Close { .. } => {}
                }
            }
        }
    }

    fn server_event(&mut self, event: Event) {
        if let Event::Publish(request) = &event {
            let target = request.target().unwrap();
            assert_eq!(target.input, "lv_1");
            assert_eq!(target.stream_key.expose(), "sk");
            let result = if self.accept {
                self.server.accept_publish(NOW)
            } else {
                let why = "auth_failed: stream key is not valid";
                self.server.reject_publish(NOW, RefusalCode::Denied, why)
            };
            result.unwrap();
        }
        self.server_events.push(event);
    }

    fn publish(&mut self) {
        let result = self.client.request_connection("live/lv_1".into()).unwrap();
        self.run(vec![result]);
        let result = self
            .client
            .request_publishing("sk".into(), PublishRequestType::Live)
            .unwrap();
        self.run(vec![result]);
    }
}

#[test]
fn an_independent_client_publishes_media() {
    let mut pair = Pair::new(true);
    pair.publish();
    assert_eq!(
        pair.client_events,
        [
            ClientSessionEvent::ConnectionRequestAccepted,
            ClientSessionEvent::PublishRequestAccepted
        ]
    );
    let mut metadata = StreamMetadata::new();
    metadata.video_width = Some(160);
    let mut results = vec![pair.client.publish_metadata(&metadata).unwrap()];
    let big = [&b"\x17\x01\0\0\x28"[..], &vec![7; 20_000]].concat();
    for (time, tag) in [(0, &b"\x17\0\0\0\0cfg"[..]), (40, &big)] {
        let tag = Bytes::copy_from_slice(tag);
        let result = pair
            .client
            .publish_video_data(tag, RtmpTimestamp::new(time), false);
        results.push(result.unwrap());
    }
    let audio = Bytes::from_static(b"\xaf\x01raw");
    let result = pair
        .client
        .publish_audio_data(audio, RtmpTimestamp::new(41), false);
    results.push(result.unwrap());
    pair.run(results);
    let results = pair.client.stop_publishing().unwrap();
    pair.run(results);

    let events: Vec<String> = pair.server_events.iter().skip(1).map(brief).collect();
    assert_eq!(
        events,
        [
            "metadata Some(160.0)",
            "config cfg",
            "video 40 40 true 20000",
            "audio 41 raw",
            "end true"
        ]
    );
}

#[test]
fn an_independent_client_learns_that_it_was_refused() {
    let mut pair = Pair::new(false);
    pair.publish();
    let code = RefusalCode::Denied.as_str().to_owned();
    assert_eq!(
        pair.client_events.last(),
        Some(&ClientSessionEvent::UnhandleableOnStatusCode { code })
    );
}

fn brief(event: &Event) -> String {
    match event {
        Event::Metadata(metadata) => format!("metadata {:?}", metadata.number("width")),
        Event::VideoConfig { config, .. } => format!("config {}", config.escape_ascii()),
        Event::Video {
            dts_ms,
            cts_ms,
            key,
            data,
            ..
        } => format!("video {dts_ms} {cts_ms} {key} {}", data.len()),
        Event::Audio { dts_ms, data, .. } => format!("audio {dts_ms} {}", data.escape_ascii()),
        Event::EndOfStream { clean } => format!("end {clean}"),
        other => format!("{other:?}"),
    }
}
