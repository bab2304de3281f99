//! Device profiles: one TOML file per device or kind of device.

mod check;
mod file;
mod load;
mod settings;

pub use settings::{AgentSettings, Knowledge, Profile, TransportKind};
