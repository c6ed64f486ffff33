//! One storage node: its block store and the service that answers the server.

mod entrance;
pub mod piece;
pub mod rescue;
pub mod service;
pub mod stage;
pub mod store;
