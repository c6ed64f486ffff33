//! The header `If` of WebDAV (RFC 4918, section 10.4): lists of states, one of which has to be found.
//!
//! ```text
//!   If: (<urn:uuid:1> ["abc"]) (Not <DAV:no-lock>)           of what the request is for
//!   If: <https://host/dav/a> (<urn:uuid:1>)                  of what this address names
//! ```

use crate::core::error::{Error, Result};

/// The most conditions in all lists together.
const CONDITIONS_MAX: usize = 64;

/// One list: all of it has to be so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateList {
    /// The address that it is about; `None` for that of the request.
    pub about: Option<String>,
    /// What has to be so.
    pub conditions: Vec<Condition>,
}

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Is it the contrary that has to be so?
    pub is_not: bool,
    /// What.
    pub state: State,
}

/// A state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It is locked with this token.
    Token(String),
    /// It has this tag, quotes included.
    Tag(String),
}

/// Reads the header.
///
/// # Errors
/// [`Error::Protocol`] if it has another form, or too many conditions.
pub fn decode(text: &str) -> Result<Vec<StateList>> {
    let malformed = || Error::Protocol("the header If has an unknown form".into());
    let mut rest = text.trim();
    let (mut lists, mut about, mut count) = (Vec::new(), None, 0);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('<') {
            let (address, behind) = inner.split_once('>').ok_or_else(malformed)?;
            about = Some(address.to_owned());
            rest = behind.trim_start();
        }
        rest = rest.strip_prefix('(').ok_or_else(malformed)?.trim_start();
        let mut conditions = Vec::new();
        while !rest.starts_with(')') {
            count += 1;
            if count > CONDITIONS_MAX {
                return Err(Error::Protocol("the header If has too many conditions".into()));
            }
            let is_not = rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("not"));
            let state = if is_not { rest[3..].trim_start() } else { rest };
            let (state, behind) = if let Some(inner) = state.strip_prefix('<') {
                let (token, behind) = inner.split_once('>').ok_or_else(malformed)?;
                (State::Token(token.to_owned()), behind)
            } else {
                let inner = state.strip_prefix('[').ok_or_else(malformed)?;
                let (tag, behind) = inner.split_once(']').ok_or_else(malformed)?;
                (State::Tag(tag.trim().to_owned()), behind)
            };
            conditions.push(Condition { is_not, state });
            rest = behind.trim_start();
        }
        if conditions.is_empty() {
            return Err(malformed());
        }
        lists.push(StateList { about: about.clone(), conditions });
        rest = rest[1..].trim_start();
    }
    if lists.is_empty() { Err(malformed()) } else { Ok(lists) }
}

/// The tokens that the lists name: whoever names them knows them.
pub fn tokens(lists: &[StateList]) -> impl Iterator<Item = &str> {
    lists.iter().flat_map(|list| &list.conditions).filter_map(|condition| match &condition.state {
        State::Token(token) => Some(token.as_str()),
        State::Tag(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(is_not: bool, text: &str) -> Condition {
        Condition { is_not, state: State::Token(text.into()) }
    }

    #[test]
    fn lists_of_states_are_read() {
        let lists = decode("(<a> [\"abc\"])(Not <DAV:no-lock>)  (<b>)").unwrap();
        let tag = Condition { is_not: false, state: State::Tag("\"abc\"".into()) };
        let expected = [
            vec![token(false, "a"), tag],
            vec![token(true, "DAV:no-lock")],
            vec![token(false, "b")],
        ];
        let conditions: Vec<_> = lists.iter().map(|list| list.conditions.clone()).collect();
        assert_eq!(conditions, expected);
        assert!(lists.iter().all(|list| list.about.is_none()));
        assert_eq!(tokens(&lists).collect::<Vec<_>>(), ["a", "DAV:no-lock", "b"]);
        let tagged = decode("<http://h/a> (<a>) (<b>) <http://h/b> (not[W/\"x\"])").unwrap();
        let about: Vec<_> = tagged.iter().map(|list| list.about.as_deref().unwrap()).collect();
        assert_eq!(about, ["http://h/a", "http://h/a", "http://h/b"]);
    }

    #[test]
    fn what_has_another_form_is_refused() {
        for wrong in ["", "<a>", "()", "(<a>", "(a)", "(<a)", "([x)", "(<a>) x", "(Not)", "(é)"] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
        assert!(decode(&"(<a>)".repeat(CONDITIONS_MAX)).is_ok());
        assert!(decode(&"(<a>)".repeat(CONDITIONS_MAX + 1)).is_err());
    }
}
