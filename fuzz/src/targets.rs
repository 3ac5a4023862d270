//! The table of targets. A new target is a line here, a bin in Cargo.toml and three lines in
//! `fuzz_targets/`; a test holds the three together.

use crate::{catalog, laws, media, moqt, plan, scene, token, web};

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its bin, its corpus and its crashes.
    pub name: &'static str,
    /// What it reads.
    pub run: fn(&[u8]),
    /// Longest input that says something new.
    pub input_bytes_max: usize,
    /// Most memory that one input may take at a time.
    pub memory_max: usize,
    /// Whether a stranger on the network feeds it: fuzzed longer.
    pub exposed: bool,
}

/// Every target; the exposed ones first.
pub const TARGETS: &[Target] = &[
    Target::new("moqt_control", moqt::control::run, 4096).exposed(),
    Target::new("moqt_objects", moqt::objects::run, 4096).exposed(),
    Target::new("moqt_legacy", moqt::legacy::run, 4096).exposed(),
    Target::new("moqt_values", moqt::values::run, 1024).exposed(),
    Target::new("relay", scene::relay::run, 8192).exposed(),
    Target::new("session", scene::session::run, 8192).exposed(),
    Target::new("http3", web::run, 4096).exposed(),
    Target::new("rtmp_server", media::rtmp::run_server, 8192).exposed(),
    Target::new("rtmp_values", media::rtmp::run_values, 2048).exposed(),
    Target::new("token", token::run, 2048).exposed(),
    Target::new("cmaf", media::cmaf::run, 16_384)
        .exposed()
        .memory(16 << 20),
    Target::new("cmaf_codec", media::codec::run, 1024),
    Target::new("catalog", catalog::run, 8192),
    Target::new("packager", media::packager::run, 4096),
    Target::new("publisher", scene::clients::run_publisher, 8192),
    Target::new("subscriber", scene::clients::run_subscriber, 8192),
    Target::new("viewer", scene::clients::run_viewer, 8192),
    Target::new("plan", plan::run, 8192).memory(256 << 20),
    Target::new("moqt_messages", moqt::messages::run, 2048),
];

impl Target {
    const fn new(name: &'static str, run: fn(&[u8]), input_bytes_max: usize) -> Self {
        Self {
            name,
            run,
            input_bytes_max,
            memory_max: 4 << 20,
            exposed: false,
        }
    }

    const fn memory(self, memory_max: usize) -> Self {
        Self { memory_max, ..self }
    }

    const fn exposed(self) -> Self {
        Self {
            exposed: true,
            ..self
        }
    }

    /// Runs it, with its bound on memory.
    pub fn check(&self, data: &[u8]) {
        laws::within(self.memory_max, || (self.run)(data));
    }

    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}
