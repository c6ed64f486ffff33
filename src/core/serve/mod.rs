//! The server: a listener, the client door, and the one facade through which every door reaches
//! files.

pub mod accounts;
pub mod admin;
pub mod audit;
pub mod client;
mod content;
mod copies;
pub mod discovery;
pub mod door;
pub mod encryption;
pub mod files;
mod heartbeat;
mod history;
mod keys;
pub mod limits;
pub mod meter;
mod monitor;
pub mod operator;
mod properties;
pub mod quota;
pub mod recover;
pub mod retrieve;
mod schedule;
pub mod server;
mod settle;
mod start;
pub mod store;
pub mod upkeep;
pub mod uploads;
mod user;
pub mod users;
pub mod web;
