//! The server: a listener, the client door, and the one facade through which every door reaches
//! files.

pub mod accounts;
pub mod audit;
pub mod client;
pub mod files;
pub mod limits;
pub mod listings;
pub mod quota;
pub mod server;
pub mod users;
