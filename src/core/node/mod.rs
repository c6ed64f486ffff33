//! One storage node: its block store and the service that answers the server.

mod piece;
pub mod service;
mod stage;
pub mod store;
