//! Two ends in one process, over a real socket.

use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::core::error::{Code, Error, Result};
use crate::core::io::net::{Deadline, Stream};
use crate::core::io::tls::{Acceptor, ClusterKey, Connector, Identity, Trust, connect_to_server};
use crate::core::types::Fingerprint;

const SOON: Deadline = Deadline::new(Duration::from_secs(20), "answer");

fn plain_pair() -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let near = Stream::connect("server", &address, &SOON).unwrap();
    let far = Stream::accepted(listener.accept().unwrap().0, "client").unwrap();
    (near, far)
}

/// Lets both ends do their part at once.
fn meet(
    near: &mut Stream,
    far: &mut Stream,
    connect: impl FnOnce(&mut Stream) -> Result<()> + Send,
    accept: impl FnOnce(&mut Stream) -> Result<()> + Send,
) -> (Result<()>, Result<()>) {
    thread::scope(|scope| {
        let accepting = scope.spawn(|| accept(far));
        let connected = connect(near);
        if connected.is_err() {
            near.shutdown(); // else the other end waits for more
        }
        (connected, accepting.join().unwrap())
    })
}

fn identity(folder: &Path) -> Identity {
    Identity::of_folder(folder, &mut Vec::new()).unwrap()
}

fn pair() -> (Stream, Stream) {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = Acceptor::for_clients(&identity(folder.path())).unwrap();
    let (mut near, mut far) = plain_pair();
    let trusted = |stream: &mut Stream| connect_to_server(stream, "127.0.0.1:1", &Trust::Vouched);
    let (connected, accepted) =
        meet(&mut near, &mut far, trusted, |stream| acceptor.accept(stream));
    connected.unwrap();
    accepted.unwrap();
    (near, far)
}

fn content(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

#[test]
fn bytes_of_every_amount_go_both_ways() {
    let (mut near, mut far) = pair();
    let sizes = [0, 1, 16_383, 16_384, 16_385, 300_000, 3_000_001];
    thread::scope(|scope| {
        scope.spawn(|| {
            for size in sizes {
                let mut got = vec![0; size];
                far.read_exact(&mut got, &SOON).unwrap();
                far.write_all(&[&got], &SOON).unwrap();
            }
        });
        for size in sizes {
            let bytes = content(size);
            let (head, rest) = bytes.split_at(size / 3);
            let parts: [&[u8]; 4] = [&[], head, &[], rest];
            near.write_all(&parts, &SOON).unwrap();
            let mut back = vec![0; size];
            near.read_exact(&mut back, &SOON).unwrap();
            assert!(back == bytes, "{size}");
        }
    });
}

#[test]
fn what_is_left_of_a_record_is_read_next() {
    let (mut near, mut far) = pair();
    far.write_all(&[&content(1000), &content(500)], &SOON).unwrap();
    let mut got = Vec::new();
    while got.len() < 1500 {
        let mut piece = [0; 7];
        let count = near.read_some(&mut piece, &SOON).unwrap();
        got.extend_from_slice(&piece[..count]);
    }
    assert!(got[..1000] == content(1000) && got[1000..] == content(500));
    assert!(near.read_ready(&mut [0; 7]).unwrap().is_none());
}

#[test]
fn a_deadline_that_passes_loses_nothing() {
    const AT_ONCE: Deadline = Deadline::new(Duration::from_millis(20), "answer");
    let (mut near, mut far) = pair();
    let error = near.read_some(&mut [0; 8], &AT_ONCE).unwrap_err();
    assert!(matches!(error, Error::Deadline(_)), "{error}");
    far.write_all(&[b"later"], &SOON).unwrap();
    let mut got = [0; 5];
    near.read_exact(&mut got, &SOON).unwrap();
    assert_eq!(&got, b"later");
}

#[test]
fn an_end_that_was_announced_is_an_end_and_a_cut_is_not() {
    let (mut near, far) = pair();
    drop(far);
    assert_eq!(near.read_some(&mut [0; 8], &SOON).unwrap(), 0);
    assert_eq!(near.read_ready(&mut [0; 8]).unwrap(), Some(0));

    let (mut near, mut far) = pair();
    far.write_all(&[b"half"], &SOON).unwrap();
    far.shutdown();
    let mut got = [0; 8];
    assert_eq!(near.read_some(&mut got, &SOON).unwrap(), 4);
    let error = near.read_some(&mut got, &SOON).unwrap_err();
    let expected = format!("the connection was closed by {} without notice", near.name());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_was_said_before_the_end_is_still_read() {
    let (mut near, mut far) = pair();
    far.write_all(&[&content(100_000)], &SOON).unwrap();
    drop(far);
    let mut got = vec![0; 100_000];
    near.read_exact(&mut got, &SOON).unwrap();
    assert!(got == content(100_000));
    assert_eq!(near.read_some(&mut [0; 8], &SOON).unwrap(), 0);
}

#[test]
fn a_peer_that_does_not_read_is_noticed() {
    const AT_ONCE: Deadline = Deadline::new(Duration::from_millis(50), "take it");
    let (mut near, _far) = pair();
    let block = vec![0; 1 << 20];
    let error = (0..64).find_map(|_| near.write_all(&[&block], &AT_ONCE).err()).unwrap();
    assert!(matches!(error, Error::Deadline(_)), "{error}");
}

#[test]
fn only_the_server_with_the_right_key_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let identity = identity(folder.path());
    let acceptor = Acceptor::for_clients(&identity).unwrap();
    let try_with = |trust: Trust| {
        let (mut near, mut far) = plain_pair();
        let connect = |stream: &mut Stream| connect_to_server(stream, "host.example:1", &trust);
        let done = meet(&mut near, &mut far, connect, |stream| acceptor.accept(stream));
        if done.0.is_ok() {
            assert_eq!(near.peer_fingerprint(), Some(identity.fingerprint()));
        }
        done.0
    };
    try_with(Trust::Pinned(identity.fingerprint())).unwrap();
    try_with(Trust::Vouched).unwrap(); // it is on this machine
    let wrong = Fingerprint([1; 32]);
    let error = try_with(Trust::Pinned(wrong)).unwrap_err();
    assert_eq!(error.code(), Code::ServerIdentity);
    let Error::ChangedServer { found, expected, .. } = error else { panic!("{error}") };
    assert_eq!((found, expected), (identity.fingerprint(), wrong));
}

#[test]
fn the_two_ends_of_a_node_link_need_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| ClusterKey::create(&folder.path().join(name)).unwrap();
    let (own, other) = (key("own"), key("other"));
    let try_with = |near_key: &ClusterKey, far_key: &ClusterKey| {
        let connector = Connector::for_cluster(near_key).unwrap();
        let acceptor = Acceptor::for_cluster(far_key).unwrap();
        let (mut near, mut far) = plain_pair();
        let connect = |stream: &mut Stream| connector.connect(stream, &SOON);
        let done = meet(&mut near, &mut far, connect, |stream| acceptor.accept(stream));
        if done.0.is_ok() && done.1.is_ok() {
            near.write_all(&[b"hello"], &SOON).unwrap();
            let mut got = [0; 5];
            far.read_exact(&mut got, &SOON).unwrap();
        }
        done
    };
    let (connected, accepted) = try_with(&own, &own);
    connected.unwrap();
    accepted.unwrap();
    let (connected, accepted) = try_with(&own, &other);
    assert!(accepted.is_err());
    let error = connected.unwrap_err();
    assert_eq!(error.code(), Code::NotAllowed);
    assert!(error.to_string().contains("has another key"), "{error}");
}

#[test]
fn a_node_lets_nobody_in_who_shows_no_key_or_another() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| ClusterKey::create(&folder.path().join(name)).unwrap();
    let acceptor = Acceptor::for_cluster(&key("own")).unwrap();
    // As a client connects: it takes whatever the node shows, and shows nothing.
    let (mut near, mut far) = plain_pair();
    let connect = |stream: &mut Stream| connect_to_server(stream, "host:1", &Trust::Any);
    let (connected, accepted) =
        meet(&mut near, &mut far, connect, |stream| acceptor.accept(stream));
    assert!(connected.is_err() && accepted.is_err());
}

#[test]
fn plain_text_where_encryption_is_due_is_handed_on_as_what_it_is() {
    let (mut near, mut far) = plain_pair();
    let connect = |stream: &mut Stream| connect_to_server(stream, "host:1", &Trust::Any);
    let say = |stream: &mut Stream| stream.write_all(&[b"D\r\nno\r\n\r\n"], &SOON);
    let (connected, _) = meet(&mut near, &mut far, connect, say);
    let Err(Error::PlainAnswer(said)) = connected else { panic!("{connected:?}") };
    assert_eq!(said, b"D\r\nno\r\n\r\n");
}

#[test]
fn a_client_that_does_not_encrypt_as_it_should_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = Acceptor::for_clients(&identity(folder.path())).unwrap();
    for noise in [&b"\x16\x03\x01\xff\xff"[..], b"\x16\x03\x01\x00\x05hello", b"\x16GET / HTTP/1.1"]
    {
        let (mut near, mut far) = plain_pair();
        let say = |stream: &mut Stream| {
            stream.write_all(&[noise], &SOON)?;
            stream.shutdown();
            Ok(())
        };
        let (_, accepted) = meet(&mut near, &mut far, say, |stream| acceptor.accept(stream));
        assert!(accepted.is_err(), "{noise:?}");
    }
}

#[test]
fn a_byte_that_was_changed_on_the_way_is_noticed() {
    // A relay by hand: what the near end sends is changed before it reaches the far end.
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let acceptor = Acceptor::for_clients(&identity(folder.path())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let relayed = relay.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut near = relay.accept().unwrap().0;
        let mut far = std::net::TcpStream::connect(address).unwrap();
        let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = near.read(&mut buffer) {
            // The handshake's messages are short; a long record is content.
            if count > 5000 {
                buffer[count / 2] ^= 1;
            }
            if far.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    });
    let mut near = Stream::connect("server", &relayed, &SOON).unwrap();
    let mut far = Stream::accepted(listener.accept().unwrap().0, "client").unwrap();
    let connect = |stream: &mut Stream| connect_to_server(stream, &relayed, &Trust::Vouched);
    let (connected, accepted) =
        meet(&mut near, &mut far, connect, |stream| acceptor.accept(stream));
    connected.unwrap();
    accepted.unwrap();
    near.write_all(&[b"whole"], &SOON).unwrap();
    let mut got = vec![0; 5];
    far.read_exact(&mut got, &SOON).unwrap();
    near.write_all(&[&content(10_000)], &SOON).unwrap();
    let error = far.read_exact(&mut vec![0; 10_000], &SOON).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    // Nothing of it is used afterwards.
    assert!(far.read_some(&mut [0; 8], &SOON).is_err());
    assert!(far.write_all(&[b"x"], &SOON).is_err());
}
