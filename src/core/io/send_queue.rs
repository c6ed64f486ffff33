//! Has the client's machine taken everything? Asked for the sake of the 2020 client only, which
//! writes to its file whatever one read returns.
//!
//! Linux shows the bytes that a socket has sent and that are not acknowledged yet in
//! `/proc/net/tcp`. Where that cannot be read, the answer is "unknown".

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// The bytes that the other side has not acknowledged yet; nothing if that cannot be told.
pub fn unacknowledged(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let table = if local.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    find(&fs::read_to_string(table).ok()?, local, peer)
}

/// Each line has the local and the remote address and, two words further, `tx_queue:rx_queue`.
fn find(table: &str, local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let (local, peer) = (hex(local), hex(peer));
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.get(1) != Some(&local.as_str()) || words.get(2) != Some(&peer.as_str()) {
            return None;
        }
        let (sent, _) = words.get(4)?.split_once(':')?;
        u64::from_str_radix(sent, 16).ok()
    })
}

/// An address as the table writes it: words of four bytes in the machine's order, then the port.
fn hex(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes
        .chunks_exact(4)
        .map(|word| format!("{:08X}", u32::from_ne_bytes(word.try_into().unwrap_or_default())));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_line_of_the_table_is_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                     0: 0100007F:4571 0100007F:C350 01 0000000A:00000000 00:00000000\n";
        let local = "127.0.0.1:17777".parse().unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(find(table, local, "127.0.0.1:50000".parse().unwrap()), Some(10));
            assert_eq!(find(table, local, "127.0.0.1:50001".parse().unwrap()), None);
        }
    }

    #[test]
    fn what_nobody_reads_stays_in_the_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _far = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        while near.write(&[0; 65536]).is_ok() {}
        let (local, peer) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
        if cfg!(target_os = "linux") {
            assert!(unacknowledged(local, peer).unwrap() > 0);
        }
    }
}
