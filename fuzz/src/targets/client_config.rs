//! The client's configuration file: a mistake in it is told with a line that it has.

use palk::cmd::client::config_mistake;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some((line, why)) = config_mistake(&text) {
        assert!((1..=text.matches('\n').count() + 1).contains(&line), "line {line}");
        assert!(!why.is_empty());
    }
}
