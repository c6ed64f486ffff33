//! The server: a listener, the client door, and the one facade through which every door reaches
//! files.

pub mod client;
pub mod encryption;
pub mod files;
pub mod server;
