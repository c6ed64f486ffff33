//! The code that lets any two of four nodes be lost: bytes in, bytes out, nothing of the machine.
//!
//! ```text
//!   stripe    | A1 | A2 | B1 | B2 |        four units of one length, contiguous
//!   parity    | O1 | O2 | O3 | O4 |        O1 = A1^B1   O2 = A2^B2   O3 = A2^B1   O4 = A1^A2^B2
//!
//!   node 1: A1 A2     node 2: B1 B2     node 3: O1 O2     node 4: O3 O4
//! ```
//!
//! A file is padded, cut into stripes, and every stripe coded by itself, so nothing here needs more
//! memory than one stripe. Byte `i` of every unit depends only on byte `i` of other units: any run
//! of bytes can be cut off and coded alone, which is what keeps the work inside the nearest cache.
//!
//! - [`layout`]: where a file's bytes and its padding lie.
//! - [`kernel`]: stripe to parity, and any two nodes' units back to the stripe.
//! - [`repair`]: one lost node's units from as few bytes as possible.
//! - [`checksum`]: checksums of units, those of parity without reading it.
//! - [`agreement`]: whether nodes agree on a stripe, from their checksums alone.
//! - [`salvage`]: the stripe from any units that are left.
//! - [`witness`]: which of four nodes is wrong although its checksums match.

pub mod agreement;
pub mod checksum;
pub mod coded;
pub mod digest;
pub mod kernel;
pub mod layout;
pub mod repair;
pub mod salvage;
pub mod witness;
