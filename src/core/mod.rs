//! Everything that Palk is apart from its command line. `docs/architecture.md` draws the layers.

pub mod error;
pub mod io;
pub mod path;
pub mod remote;
pub mod types;
pub mod wire;
