//! One storage node: its block store and the service that answers the server.

mod backup;
mod entrance;
mod evidence;
pub mod inventory;
pub mod piece;
pub mod registration;
pub mod rescue;
pub mod reserve;
pub mod service;
pub mod stage;
pub mod store;
