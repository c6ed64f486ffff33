//! What programs for the web say in the heads and bodies of requests: understood, and answered, as values.

pub mod basic;
pub mod conditions;
pub mod cookie;
pub mod date;
pub mod dav;
pub mod form;
pub mod href;
pub mod html;
pub mod if_header;
pub mod json;
