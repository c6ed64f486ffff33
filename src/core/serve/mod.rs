//! The server: a listener, the client door, and the one facade through which every door reaches
//! files.

pub mod admin;
pub mod client;
pub mod encryption;
pub mod files;
pub mod operator;
pub mod recover;
pub mod server;
mod start;
pub mod upkeep;
