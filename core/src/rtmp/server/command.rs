//! Commands: from `connect` to `publish` and its end (RTMP 1.0, section 7.2).

use super::control::WINDOW;
use super::event::{CloseReason, Event, PublishRequest, RefusalCode};
use super::{Phase, Session};
use crate::rtmp::amf0::{self, Properties, Value};
use crate::rtmp::chunk::kind;
use crate::rtmp::chunk::writer::{COMMAND, CONTROL};
use crate::rtmp::flv::{AudioCodec, VideoCodec};
use bytes::{BufMut, BytesMut};

/// Our chunk size: an answer to `connect` in one chunk.
const CHUNK_SIZE: u16 = 4096;
/// Limit type "dynamic" of Set Peer Bandwidth.
const BANDWIDTH_DYNAMIC: u8 = 2;
/// `capsEx` of E-RTMP v2: multitrack and `ModEx`.
const CAPS_EX: f64 = 6.0;
/// `FourCcInfoMask.CanForward`.
const CAN_FORWARD: f64 = 4.0;
/// Some encoders read a version number after `FMS/`, and this one is new enough for all of them.
const FMS_VERSION: &str = "FMS/3,5,7,7009";

/// What `connect` said.
#[derive(Clone)]
pub(super) struct Connect {
    app: String,
    tc_url: String,
    encoder: String,
}

impl std::fmt::Debug for Connect {
    /// App and URL may hold a stream key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("encoder", &self.encoder)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Acts on one command message. Commands that are not known are left unanswered: an error
    /// makes some encoders give up.
    pub(super) fn read_command(&mut self, stream: u32, body: &[u8]) -> Result<(), CloseReason> {
        let values = amf0::decode_all(body, &self.limits.amf)?;
        let name = values.first().and_then(Value::as_str);
        let name = name.ok_or(CloseReason::Command)?;
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or(0.0);
        if (name == "connect") != (self.phase == Phase::Connecting) {
            return Err(CloseReason::CommandOrder);
        }
        match name {
            "connect" => self.connect(transaction, values.get(2)),
            "createStream" => self.create_stream(transaction),
            "releaseStream" | "FCPublish" | "_checkbw" => {
                self.write_result(transaction, Value::Undefined);
                Ok(())
            }
            "getStreamLength" => {
                self.write_result(transaction, 0.0.into());
                Ok(())
            }
            "publish" => self.publish(stream, values.get(3)),
            "FCUnpublish" | "closeStream" | "deleteStream" => {
                self.unpublish(name, stream, values.get(3));
                Ok(())
            }
            "play" | "play2" => {
                self.write_status(
                    stream,
                    "error",
                    "NetStream.Play.StreamNotFound",
                    "playback over rtmp is not offered",
                );
                Err(CloseReason::Play)
            }
            _ => Ok(()),
        }
    }

    /// The answer to an accepted publish request.
    pub(super) fn write_publish_start(&mut self, stream: u32) {
        let mut out = BytesMut::new();
        self.put_stream_begin(stream, &mut out);
        self.put_status(
            stream,
            ["status", "NetStream.Publish.Start", "publishing"],
            &mut out,
        );
        self.write(out.freeze());
    }

    /// `onStatus` on a message stream.
    pub(super) fn write_status(&mut self, stream: u32, level: &str, code: &str, text: &str) {
        let mut out = BytesMut::new();
        self.put_status(stream, [level, code, text], &mut out);
        self.write(out.freeze());
    }

    fn connect(&mut self, transaction: f64, object: Option<&Value>) -> Result<(), CloseReason> {
        let object = object
            .filter(|object| object.properties().is_some())
            .ok_or(CloseReason::Command)?;
        let text = |name| {
            let value = object.property(name).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        self.connect = Some(Connect {
            app: text("app"),
            tc_url: text("tcUrl"),
            encoder: text("flashVer"),
        });
        self.phase = Phase::Connected;

        let mut out = BytesMut::new();
        self.writer.message(
            CONTROL,
            kind::WINDOW_ACK_SIZE,
            0,
            &WINDOW.to_be_bytes(),
            &mut out,
        );
        let mut bandwidth = BytesMut::with_capacity(5);
        bandwidth.put_u32(WINDOW);
        bandwidth.put_u8(BANDWIDTH_DYNAMIC);
        self.writer
            .message(CONTROL, kind::SET_PEER_BANDWIDTH, 0, &bandwidth, &mut out);
        self.writer.set_chunk_size(CHUNK_SIZE, &mut out);
        self.put_stream_begin(0, &mut out);
        let (properties, information) = connect_answer(object);
        self.put_command(
            0,
            &[
                "_result".into(),
                transaction.into(),
                Value::Object(properties),
                Value::Object(information),
            ],
            &mut out,
        );
        self.write(out.freeze());
        Ok(())
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), CloseReason> {
        if self.message_streams >= self.limits.message_streams_max {
            return Err(CloseReason::MessageStreams);
        }
        self.message_streams = self.message_streams.saturating_add(1);
        self.write_result(transaction, f64::from(self.message_streams).into());
        Ok(())
    }

    fn publish(&mut self, stream: u32, name: Option<&Value>) -> Result<(), CloseReason> {
        let name = name.and_then(Value::as_str).ok_or(CloseReason::Command)?;
        if self.phase != Phase::Connected {
            let reason = "one stream per connection";
            self.write_status(stream, "error", RefusalCode::BadName.as_str(), reason);
            return Err(CloseReason::SecondPublish);
        }
        let connect = self.connect.clone().ok_or(CloseReason::CommandOrder)?;
        self.phase = Phase::Deciding { stream };
        self.event(Event::Publish(PublishRequest {
            app: connect.app,
            stream_name: name.to_owned(),
            tc_url: connect.tc_url,
            encoder: connect.encoder,
        }));
        Ok(())
    }

    /// `FCUnpublish` names the stream by text and `closeStream` by the message's stream;
    /// `deleteStream` names another stream in its argument, if it is another.
    fn unpublish(&mut self, name: &str, stream: u32, argument: Option<&Value>) {
        let Phase::Publishing { stream: published } = self.phase else {
            return;
        };
        let named = argument.and_then(Value::as_number);
        let is_other = match name {
            "closeStream" => stream != published && stream != 0,
            "deleteStream" => named.is_some_and(|named| (named - f64::from(published)).abs() > 0.5),
            _ => false,
        };
        if is_other {
            return;
        }
        self.end_stream(true);
        self.write_status(
            published,
            "status",
            "NetStream.Unpublish.Success",
            "stream ended",
        );
    }

    fn write_result(&mut self, transaction: f64, result: Value) {
        let mut out = BytesMut::new();
        let values = ["_result".into(), transaction.into(), Value::Null, result];
        self.put_command(0, &values, &mut out);
        self.write(out.freeze());
    }

    fn put_status(&self, stream: u32, [level, code, text]: [&str; 3], out: &mut BytesMut) {
        let information = Value::Object(vec![
            ("level".to_owned(), level.into()),
            ("code".to_owned(), code.into()),
            ("description".to_owned(), text.into()),
        ]);
        self.put_command(
            stream,
            &["onStatus".into(), 0.0.into(), Value::Null, information],
            out,
        );
    }

    fn put_command(&self, stream: u32, values: &[Value], out: &mut BytesMut) {
        let mut body = BytesMut::new();
        amf0::encode_all(values, &mut body);
        self.writer
            .message(COMMAND, kind::COMMAND_AMF0, stream, &body, out);
    }
}

/// The two objects of the answer to `connect`: properties of the server, and information about the
/// connection. A client that speaks E-RTMP is told our codecs and capabilities in both, since the
/// document does not say in which of the two it is to look.
fn connect_answer(object: &Value) -> (Properties, Properties) {
    let mut properties = vec![
        ("fmsVer".to_owned(), FMS_VERSION.into()),
        ("capabilities".to_owned(), 31.0.into()),
    ];
    let mut information = vec![
        ("level".to_owned(), "status".into()),
        ("code".to_owned(), "NetConnection.Connect.Success".into()),
        ("description".to_owned(), "connection succeeded".into()),
        ("objectEncoding".to_owned(), 0.0.into()),
    ];
    let is_enhanced = [
        "fourCcList",
        "capsEx",
        "videoFourCcInfoMap",
        "audioFourCcInfoMap",
    ]
    .iter()
    .any(|name| object.property(name).is_some());
    if is_enhanced {
        properties.extend(enhancements());
        information.extend(enhancements());
    }
    (properties, information)
}

fn enhancements() -> Properties {
    let video = VideoCodec::ALL.map(|codec| codec.four_cc().to_string());
    let audio = AudioCodec::ALL.map(|codec| codec.four_cc().to_string());
    let can_forward = |names: &[String]| {
        let forward = |name: &String| (name.clone(), CAN_FORWARD.into());
        Value::Object(names.iter().map(forward).collect())
    };
    let list = video.iter().chain(&audio).cloned();
    vec![
        ("videoFourCcInfoMap".to_owned(), can_forward(&video)),
        ("audioFourCcInfoMap".to_owned(), can_forward(&audio)),
        (
            "fourCcList".to_owned(),
            Value::StrictArray(list.map(Value::String).collect()),
        ),
        ("capsEx".to_owned(), CAPS_EX.into()),
    ]
}
