//! The four nodes seen from the server: links, what is believed of each, and the volume that turns
//! them into one place for files.

pub mod again;
pub mod attendant;
mod audit;
pub mod backup;
mod buffers;
mod check;
pub mod heal;
mod inventory;
pub mod link;
pub mod locate;
pub mod node;
pub mod pace;
pub mod readers;
mod reading;
mod rebuild;
pub mod recover;
pub mod replace;
pub mod roster;
pub mod scrub;
mod scrubs;
pub mod standing;
pub mod volume;
mod writing;

pub use reading::Reading;
pub use rebuild::{Lacking, Rebuilt};
pub use writing::{Fanout, Staged, Writing};
