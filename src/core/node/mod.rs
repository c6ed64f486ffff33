//! One storage node: its block store and the service that answers the server.

mod census;
mod disk_check;
mod entrance;
#[cfg(test)]
mod fixture;
mod follow;
mod frames;
mod gap;
mod identity;
mod journal;
mod monitor;
pub mod piece;
mod pieces;
pub mod registration;
pub mod rescue;
pub mod reserve;
pub mod service;
mod snapshots;
pub mod stage;
pub mod store;
mod view;
mod write_out;
