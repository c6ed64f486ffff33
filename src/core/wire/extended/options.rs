//! The options of requests: lines behind the fields, each `key=value`, in any order.
//!
//! Invariant: what is not known is refused, never passed over: an option says under which condition
//! something is done, and whoever did not understand it would do it without.

use crate::core::error::{Error, Result};
use crate::core::range::ByteRange;
use crate::core::types::Precondition;
use crate::core::wire::extended::history::{When, Which};

/// What is listed of a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// The folder or file of this path and nothing in it.
    Itself,
    /// What lies directly in the folder.
    Children,
    /// Everything below the folder.
    All,
}

/// Every extent with its word on the wire.
const EXTENTS: [(Extent, &str); 3] = [
    (Extent::Itself, "scope=self"),
    (Extent::Children, "scope=children"),
    (Extent::All, "scope=all"),
];

/// The option that stands for what a store asks of the file at its place, if it asks anything.
pub(super) fn of_precondition(precondition: Precondition) -> Option<String> {
    match precondition {
        Precondition::Any => None,
        Precondition::Absent => Some("replace=no".into()),
        Precondition::Present => Some("if=present".into()),
        Precondition::Unchanged(version) => Some(format!("if-version={version}")),
    }
}

/// Reads the options of a store.
///
/// # Errors
/// [`Error::Protocol`] for one that is not known, and for two that differ.
pub(super) fn precondition(options: &[&str]) -> Result<Precondition> {
    let mut found = Precondition::Any;
    for option in options {
        let asked = match option.split_once('=') {
            Some(("replace", "no")) => Precondition::Absent,
            Some(("if", "present")) => Precondition::Present,
            Some(("if-version", version)) => match version.parse() {
                Ok(version) => Precondition::Unchanged(version),
                Err(_) => return Err(Error::Protocol(format!("{version:?} is not a version"))),
            },
            _ => return Err(unknown(option)),
        };
        if found != Precondition::Any && found != asked {
            return Err(Error::Protocol("a store has one condition at most".into()));
        }
        found = asked;
    }
    Ok(found)
}

/// Reads the options of a retrieval.
///
/// # Errors
/// [`Error::Protocol`] for one that is not known, and for a second range or a second version.
pub(super) fn of_retrieval(options: &[&str]) -> Result<(Which, Option<ByteRange>)> {
    let (mut which, mut range) = (None, None);
    for option in options {
        if let Some(found) = Which::parse(option)? {
            if which.replace(found).is_some() {
                return Err(Error::Protocol("a retrieval names one version at most".into()));
            }
            continue;
        }
        let text = option.strip_prefix("range=").ok_or_else(|| unknown(option))?;
        let parsed = text.parse().map_err(|why| Error::Protocol(format!("{text:?}: {why}")))?;
        if range.replace(parsed).is_some() {
            return Err(Error::Protocol("a retrieval has one range at most".into()));
        }
    }
    Ok((which.unwrap_or_default(), range))
}

/// The option of a listing; nothing for everything below, which is what is meant without one.
pub(super) fn of_extent(extent: Extent) -> Option<String> {
    let (_, word) = EXTENTS.into_iter().find(|(known, _)| *known == extent)?;
    (extent != Extent::All).then(|| word.to_owned())
}

/// The option of a listing that asks for what files keep besides their bytes.
pub(super) const ATTRIBUTES: &str = "attributes=yes";

/// Reads the options of a listing: how much is listed, as of when, and whether with
/// attributes. Of several of a kind the last counts.
///
/// # Errors
/// [`Error::Protocol`] for one that is not known.
pub(super) fn of_listing(options: &[&str]) -> Result<(Extent, Option<When>, bool)> {
    let (mut extent, mut at, mut attributes) = (Extent::All, None, false);
    for option in options {
        if *option == ATTRIBUTES {
            attributes = true;
            continue;
        }
        if let Some(when) = option.strip_prefix("at=") {
            at = Some(When::parse(when)?);
            continue;
        }
        let found = EXTENTS.into_iter().find(|(_, word)| word == option);
        (extent, _) = found.ok_or_else(|| unknown(option))?;
    }
    Ok((extent, at, attributes))
}

/// Reads the switches that a request has.
///
/// # Errors
/// [`Error::Protocol`] for anything else.
pub(super) fn switches<const N: usize>(options: &[&str], words: [&str; N]) -> Result<[bool; N]> {
    match options.iter().find(|option| !words.contains(option)) {
        Some(other) => Err(unknown(other)),
        None => Ok(words.map(|word| options.contains(&word))),
    }
}

fn unknown(option: &str) -> Error {
    Error::Protocol(format!("unknown option {option:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::VersionId;

    #[test]
    fn a_store_has_one_condition_at_most() {
        for asked in [
            Precondition::Any,
            Precondition::Absent,
            Precondition::Present,
            Precondition::Unchanged(VersionId([7; 16])),
        ] {
            let option = of_precondition(asked);
            let options: Vec<&str> = option.as_deref().into_iter().collect();
            assert_eq!(precondition(&options).unwrap(), asked);
        }
        assert!(precondition(&["replace=no", "replace=no"]).is_ok());
        for wrong in [
            &["replace=no", "if=present"][..],
            &["if-version=12"],
            &["if-version"],
            &["if=absent"],
            &["replace=yes"],
        ] {
            assert!(matches!(precondition(wrong), Err(Error::Protocol(_))), "{wrong:?}");
        }
    }

    #[test]
    fn an_extent_and_a_switch_are_their_words_and_nothing_else() {
        for (asked, word) in EXTENTS {
            assert_eq!(of_listing(&[word]).unwrap().0, asked);
            let option = of_extent(asked);
            let options: Vec<&str> = option.as_deref().into_iter().collect();
            assert_eq!(of_listing(&options).unwrap().0, asked);
        }
        assert!(of_listing(&["scope=some"]).is_err());
        let both = |options: &[&str]| switches(options, ["recursive=yes", "replace=yes"]);
        assert_eq!(both(&[]).unwrap(), [false, false]);
        assert_eq!(both(&["replace=yes"]).unwrap(), [false, true]);
        assert_eq!(both(&["replace=yes", "recursive=yes"]).unwrap(), [true, true]);
        assert!(both(&["replace=yes", "replace=no"]).is_err());
    }
}
