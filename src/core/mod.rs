//! Everything that Palk is apart from its command line. `docs/architecture.md` draws the layers.

pub mod catalog;
pub mod chronicle;
pub mod cluster;
pub mod code;
pub mod error;
pub mod fence;
pub mod health;
pub mod io;
pub mod ladder;
pub mod metrics;
pub mod names;
pub mod node;
pub mod path;
pub mod quorum;
pub mod range;
pub mod remote;
pub mod serve;
pub mod session;
pub mod status;
pub mod throttle;
pub mod types;
pub mod wire;
