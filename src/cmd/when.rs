//! Times as people say them: `2h ago`, `yesterday 18:00`, `18:00`, `2026-11-29`, RFC 3339, or the name
//! of a snapshot.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};

use crate::core::types::Moment;
use crate::core::wire::extended::When;
use crate::core::wire::journal::SnapshotName;

/// Reads a time, by this machine's clock and zone.
///
/// # Errors
/// What is wrong with it, for clap.
pub(crate) fn parse(text: &str) -> Result<When, String> {
    parse_by(text, &Zoned::now())
}

fn parse_by(text: &str, now: &Zoned) -> Result<When, String> {
    let text = text.trim();
    let bad = || {
        "not a time: say \"2h ago\", \"yesterday 18:00\", \"2026-11-29 18:00\", \
         \"2026-11-29T18:00:00Z\", or the name of a snapshot"
            .to_owned()
    };
    match timestamp(text, now) {
        Some(time) if time > now.timestamp() => Err("that time is still to come".to_owned()),
        Some(time) => Ok(When::At(Moment(time.as_microsecond()))),
        // What looks like the beginning of a time is a mistake in one.
        None => SnapshotName::parse(text).map(When::Snapshot).ok_or_else(bad),
    }
}

fn timestamp(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if text.ends_with("ago")
        && let Ok(span) = text.parse::<Span>()
    {
        return now.checked_add(span).ok().map(|then| then.timestamp());
    }
    let in_zone = |civil: DateTime| civil.to_zoned(now.time_zone().clone()).ok();
    if let Ok(civil) = text.parse::<DateTime>() {
        return Some(in_zone(civil)?.timestamp());
    }
    if let Ok(date) = text.parse::<Date>() {
        return Some(in_zone(date.at(0, 0, 0, 0))?.timestamp());
    }
    let (day, time) = text.split_once(' ').unwrap_or((text, ""));
    let date = match day.to_ascii_lowercase().as_str() {
        "now" if time.is_empty() => return Some(now.timestamp()),
        "today" => now.date(),
        "yesterday" => now.date().checked_sub(1.day()).ok()?,
        _ => {
            // The last time that it was so late.
            let time: Time = clock_time(text)?;
            let today = in_zone(now.date().to_datetime(time))?;
            let last = if today > *now { today.checked_sub(1.day()).ok()? } else { today };
            return Some(last.timestamp());
        }
    };
    let time = if time.is_empty() { Time::midnight() } else { clock_time(time)? };
    Some(in_zone(date.to_datetime(time))?.timestamp())
}

/// `18:00`, `9:05`, `18:00:30`
fn clock_time(text: &str) -> Option<Time> {
    if !text.contains(':') {
        return None;
    }
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    padded.parse().ok()
}

/// A moment as it is shown to people, by this machine's clock and zone: `2026-11-29 18:00:05`.
pub(crate) fn shown(moment: Moment) -> String {
    match Timestamp::from_microsecond(moment.0) {
        Ok(time) => Zoned::new(time, TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// A moment exactly, in RFC 3339: what [`parse`] reads as the same moment.
pub(crate) fn exact(moment: Moment) -> String {
    Timestamp::from_microsecond(moment.0).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_meant() {
        let now: Zoned = "2026-11-30T10:30:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, expected) in [
            ("2h ago", "2026-11-30T07:30:00Z"),
            ("90 minutes ago", "2026-11-30T08:00:00Z"),
            ("3 days ago", "2026-11-27T09:30:00Z"),
            ("yesterday 18:00", "2026-11-29T17:00:00Z"),
            ("yesterday", "2026-11-28T23:00:00Z"),
            ("today 9:05", "2026-11-30T08:05:00Z"),
            ("9:05", "2026-11-30T08:05:00Z"),
            ("18:00", "2026-11-29T17:00:00Z"),
            ("now", "2026-11-30T09:30:00Z"),
            ("2026-11-29", "2026-11-28T23:00:00Z"),
            ("2026-11-29 18:00", "2026-11-29T17:00:00Z"),
            ("2026-11-29T18:00:00Z", "2026-11-29T18:00:00Z"),
            ("2026-11-29T18:00:00.000001Z", "2026-11-29T18:00:00.000001Z"),
            ("2026-11-29T18:00:00+02:00", "2026-11-29T16:00:00Z"),
        ] {
            let When::At(moment) = parse_by(text, &now).unwrap() else { panic!("{text}") };
            assert_eq!(exact(moment), expected, "{text}");
        }
        assert!(matches!(parse_by("before-upgrade", &now), Ok(When::Snapshot(_))));
        for text in ["", "25:00", "2026-13-01", "in 2h", "tomorrow 9:00", "2026-12-24", "a/b"] {
            assert!(parse_by(text, &now).is_err(), "{text}");
        }
    }
}
