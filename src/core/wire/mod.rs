//! Bytes that travel and bytes that rest: every message and file format, as pure functions.
//!
//! A decoder takes a slice and answers "not yet" as a value that consumes nothing, so cutting a
//! message at any byte changes no result.

pub mod admin;
mod bytes;
pub mod chunk;
pub mod discovery;
pub mod extended;
pub mod extents;
pub mod folder;
pub mod journal;
pub mod keys;
pub mod lines;
pub mod node;
pub mod reports;
pub mod request;
pub mod retention;
pub mod share;
pub mod snapshot;
pub mod token;
pub mod trailer;
pub mod users;
pub mod web;
