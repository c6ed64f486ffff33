//! The conditions of a request (RFC 9110, sections 13 and 14): which state of a file is meant, and which
//! part of it.

use crate::core::range::ByteRange;
use crate::core::types::VersionId;
use crate::core::wire::web::date;

/// The most tags that a header may list.
const TAGS_MAX: usize = 64;

/// What identifies a file's bytes: its version, in quotes.
pub fn tag_of(version: VersionId) -> String {
    format!("\"{version}\"")
}

/// What `If-Match` and `If-None-Match` list.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Tags {
    Any,
    /// Each with whether it is a weak one.
    Some(Vec<(bool, String)>),
}

impl Tags {
    fn parse(text: &str) -> Tags {
        if text.trim() == "*" {
            return Tags::Any;
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() && tags.len() < TAGS_MAX {
            let (is_weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let Some((tag, behind)) =
                quoted.strip_prefix('"').and_then(|quoted| quoted.split_once('"'))
            else {
                break;
            };
            tags.push((is_weak, format!("\"{tag}\"")));
            rest = behind.trim_start().trim_start_matches(',').trim_start();
        }
        Tags::Some(tags)
    }

    fn has(&self, there: Option<&str>, is_strong: bool) -> bool {
        match (self, there) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::Some(tags), Some(there)) => {
                tags.iter().any(|(is_weak, tag)| tag == there && !(is_strong && *is_weak))
            }
        }
    }
}

/// The conditions that a request names.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<i64>,
    if_unmodified_since: Option<i64>,
}

/// What is at the path that a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct There<'a> {
    /// Its tag; a folder has none, and `*` is met by it all the same.
    pub tag: &'a str,
    /// When it was last changed, if that is known, in milliseconds since 1970.
    pub modified_ms: Option<i64>,
}

/// What the conditions come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They are met.
    Met,
    /// They are not: nothing is to be done.
    Failed,
    /// The one who asks to read has it already.
    NotModified,
}

impl Conditions {
    /// Reads them from headers; `header` gives the value of one.
    pub fn of<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Conditions {
        let tags = |name| header(name).map(Tags::parse);
        let date = |name| header(name).and_then(date::parse);
        Conditions {
            if_match: tags("if-match"),
            if_none_match: tags("if-none-match"),
            if_modified_since: date("if-modified-since"),
            if_unmodified_since: date("if-unmodified-since"),
        }
    }

    /// Does the request want to find this very state, whatever comes between?
    pub fn wants_state(&self) -> bool {
        self.if_match.is_some()
    }

    /// Does the request want to find nothing?
    pub fn wants_nothing(&self) -> bool {
        self.if_none_match == Some(Tags::Any)
    }

    /// Are they met? In the order of RFC 9110, section 13.2.2.
    pub fn judge(&self, there: Option<There<'_>>, is_read: bool) -> Verdict {
        let tag = there.map(|there| there.tag);
        let second = |ms: i64| ms.div_euclid(1000);
        let modified = there.and_then(|there| there.modified_ms).map(second);
        match (&self.if_match, self.if_unmodified_since, modified) {
            (Some(tags), ..) if !tags.has(tag, true) => return Verdict::Failed,
            (None, Some(since), Some(modified)) if modified > second(since) => {
                return Verdict::Failed;
            }
            _ => {}
        }
        let unchanged = if is_read { Verdict::NotModified } else { Verdict::Failed };
        match (&self.if_none_match, self.if_modified_since, modified) {
            (Some(tags), ..) if tags.has(tag, false) => unchanged,
            (None, Some(since), Some(modified)) if is_read && modified <= second(since) => {
                unchanged
            }
            _ => Verdict::Met,
        }
    }
}

/// The part of a file that `Range` asks for; `None` for the whole, also where several parts are asked for
/// or the header has another form, which may be ignored.
pub fn range(range: Option<&str>, if_range: Option<&str>, there: There<'_>) -> Option<ByteRange> {
    let range = range?.trim().strip_prefix("bytes=")?.trim().parse().ok()?;
    let is_meant = if_range.is_none_or(|condition| match date::parse(condition) {
        Some(date) => there.modified_ms.is_some_and(|ms| ms.div_euclid(1000) == date / 1000),
        None => Tags::parse(condition).has(Some(there.tag), true) && condition.trim() != "*",
    });
    is_meant.then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: There<'static> = There { tag: "\"abc\"", modified_ms: Some(784_111_777_500) };
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn judged(headers: &[(&str, &str)], there: Option<There<'_>>, is_read: bool) -> Verdict {
        let header = |name: &str| headers.iter().find(|own| own.0 == name).map(|own| own.1);
        Conditions::of(header).judge(there, is_read)
    }

    #[test]
    fn conditions_are_judged_as_http_has_it() {
        use Verdict::{Failed, Met, NotModified};
        for (header, value, of_there, to_write, of_nothing) in [
            ("if-match", "*", Met, Met, Failed),
            ("if-match", "\"abc\"", Met, Met, Failed),
            ("if-match", "\"x\", \"abc\"", Met, Met, Failed),
            ("if-match", "W/\"abc\"", Failed, Failed, Failed),
            ("if-match", "\"x\"", Failed, Failed, Failed),
            ("if-match", "abc", Failed, Failed, Failed),
            ("if-none-match", "*", NotModified, Failed, Met),
            ("if-none-match", "\"abc\"", NotModified, Failed, Met),
            ("if-none-match", "W/\"abc\"", NotModified, Failed, Met),
            ("if-none-match", "\"x\"", Met, Met, Met),
            ("if-modified-since", THEN, NotModified, Met, Met),
            ("if-modified-since", BEFORE, Met, Met, Met),
            ("if-modified-since", "nonsense", Met, Met, Met),
            ("if-unmodified-since", THEN, Met, Met, Met),
            ("if-unmodified-since", BEFORE, Failed, Failed, Met),
        ] {
            let own = [(header, value)];
            assert_eq!(judged(&own, Some(THERE), true), of_there, "{own:?}");
            assert_eq!(judged(&own, Some(THERE), false), to_write, "{own:?}");
            assert_eq!(judged(&own, None, false), of_nothing, "{own:?}");
        }
        let both = [("if-none-match", "\"x\""), ("if-modified-since", THEN)];
        assert_eq!(judged(&both, Some(THERE), true), Met, "the tag says more than the date");
    }

    #[test]
    fn a_range_is_taken_if_it_is_of_what_is_there() {
        let last = Some(ByteRange::Last(5));
        assert_eq!(range(Some("bytes=-5"), None, THERE), last);
        for (condition, taken) in [
            ("\"abc\"", true),
            ("W/\"abc\"", false),
            ("\"x\"", false),
            ("*", false),
            (THEN, true),
            (BEFORE, false),
        ] {
            let found = range(Some("bytes=-5"), Some(condition), THERE);
            assert_eq!(found.is_some(), taken, "{condition}");
        }
        for ignored in ["bytes=0-1,3-4", "lines=1-2", "bytes=5-3", "bytes=", ""] {
            assert_eq!(range(Some(ignored), None, THERE), None, "{ignored}");
        }
        assert_eq!(range(None, None, THERE), None);
    }
}
