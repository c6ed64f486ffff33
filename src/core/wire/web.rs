//! What programs for the web say in the heads and bodies of requests: understood, and answered, as values.

pub mod basic;
pub mod conditions;
pub mod date;
pub mod dav;
pub mod href;
pub mod if_header;
