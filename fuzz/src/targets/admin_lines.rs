//! Lines of the admin socket, both ways.

use palk::core::wire::admin::{LINE_BYTES_MAX, Line, Verb};

pub(crate) fn run(data: &[u8]) {
    if let Ok(verb) = Verb::decode(data) {
        let again = verb.encode().expect("what was read can be written");
        assert!(again.ends_with(b"\n"));
        assert!(Verb::decode(&again).expect("an own request") == verb);
    }
    if let Ok(line) = Line::decode(data) {
        // Escapes may make it longer than a line may be.
        let Ok(again) = line.encode() else { return };
        assert!(again.len() <= LINE_BYTES_MAX && again.ends_with(b"\n"));
        assert_eq!(again.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
