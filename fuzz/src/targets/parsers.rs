//! Small texts that people and peers write: sizes, addresses, ids, numbers of nodes, block names.

use palk::cmd::client::with_port;
use palk::cmd::server::parse_size;
use palk::core::path::{block_file_name, parse_block_file_name, printable};
use palk::core::serve::files::FILE_BYTES_MAX;
use palk::core::types::{Digest, NodeId, VersionId};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(bytes) = parse_size(&text) {
        assert!(bytes <= FILE_BYTES_MAX);
    }
    let address = with_port(text.clone().into_owned());
    // A bare IPv6 address gets brackets.
    assert!(address.contains(&*text) && address.contains(':'));
    assert_eq!(with_port(address.clone()), address, "a port is added twice");
    if let Ok(id) = text.parse::<VersionId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(node) = text.parse::<NodeId>() {
        assert!((1..=4).contains(&node.number()));
    }
    if let Some((name, block)) = parse_block_file_name(&text) {
        assert_eq!(block_file_name(&name, block), text);
    }
    let shown = printable(&text);
    assert!(!shown.chars().any(char::is_control));
    assert_eq!(printable(&shown), shown);
}
