//! Messages of lines, and what they mean in the extended session, both ways. Whatever is understood
//! means the same after it was sent again.

use palk::core::remote::Said;
use palk::core::wire::extended::{
    Entry, HistoryRequest, Moved, Removed, Reply, Request, field, parse_hello_line,
};
use palk::core::wire::lines;

use super::bytes::Bytes;
use super::names::{assert_folder_inside, assert_inside};

pub(crate) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let bytes_max = usize::from(input.u16());
    let Ok(Some((message, used))) = lines::decode(input.0, bytes_max) else { return };
    assert!(used <= bytes_max.min(input.0.len()));
    for cut in 0..used {
        assert!(matches!(lines::decode(&input.0[..cut], bytes_max), Ok(None)), "cut at {cut}");
    }
    if let Ok(request) = Request::decode(&message) {
        match &request {
            Request::Store { path, .. }
            | Request::Retrieve { path, .. }
            | Request::Delete { path } => assert_inside(path),
            Request::List { path, .. } => assert_folder_inside(path),
            Request::MakeFolder { folder, .. } | Request::RemoveFolder { folder, .. } => {
                assert_folder_inside(folder);
            }
            Request::Move { from, to, .. } | Request::Copy { from, to, .. } => {
                assert_inside(from);
                assert_folder_inside(to);
            }
            Request::History(
                HistoryRequest::Versions { path }
                | HistoryRequest::Undo { path }
                | HistoryRequest::Forget { path },
            ) => assert_inside(path),
            Request::History(
                HistoryRequest::Deleted { folder: path } | HistoryRequest::Revert { path, .. },
            ) => assert_folder_inside(path),
            _ => {}
        }
        // Half a line end within a line is a blank the second time, hence the bytes.
        let again = Request::decode(&understood(&request.encode()));
        let again = again.expect("a request that was understood once");
        assert_eq!(again.encode(), request.encode());
    }
    if let Ok(reply) = Reply::decode(&message) {
        let again = understood(&reply.encode());
        let again = Reply::decode(&again).expect("a reply that was understood once");
        assert_eq!(again.encode(), reply.encode());
    }
    if let Ok(said) = Said::decode(&message) {
        assert!(said.questions.len() < message.len());
    }
    for line in &message {
        let _ = parse_hello_line(line);
        match Entry::decode(line) {
            Ok(Entry::Folder(folder)) => assert_folder_inside(&folder),
            Ok(Entry::File(file)) => {
                assert_inside(&file.path);
                let file = Entry::File(file);
                assert_eq!(Entry::decode(&file.encode(true)).ok(), Some(file));
            }
            Err(_) => {}
        }
    }
    if let Ok(removed) = Removed::from_fields(&message) {
        assert_eq!(Removed::from_fields(&removed.to_fields()).ok(), Some(removed));
    }
    if let Ok(moved) = Moved::from_fields(&message) {
        assert_inside(&moved.to);
        assert_eq!(Moved::from_fields(&moved.to_fields()).ok(), Some(moved));
    }
    let _ = field::<u64>(&message, "bytes");
    let _ = field::<String>(&message, "nodes");
}

fn understood(bytes: &[u8]) -> Vec<String> {
    let (message, used) = lines::decode(bytes, bytes.len())
        .expect("what Palk says is a message")
        .expect("what Palk says is whole");
    assert_eq!(used, bytes.len(), "more than one message");
    message
}
