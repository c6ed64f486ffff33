//! The server: a listener, the client door, and the one facade through which every door reaches
//! files.

pub mod client;
pub mod files;
mod send_queue;
pub mod server;
