//! Dates as HTTP and WebDAV write them, from and to milliseconds since 1970.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;

/// `Sun, 06 Nov 1994 08:49:37 GMT`; a date before the year 0 or behind 9999 is the beginning of 1970.
pub fn http(ms: i64) -> String {
    let printed = DateTimePrinter::new().timestamp_to_rfc9110_string(&whole(ms));
    printed.unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}

/// `1994-11-06T08:49:37Z`
pub fn iso(ms: i64) -> String {
    whole(ms).to_string()
}

/// Year, month, day, hour, minute and second by universal time; `None` for a date before the year -9999 or
/// behind 9999.
pub fn civil(ms: i64) -> Option<[i16; 6]> {
    let civil = Timestamp::from_second(ms.div_euclid(1000)).ok()?.to_zoned(TimeZone::UTC);
    let [month, day] = [civil.month(), civil.day()].map(i16::from);
    let [hour, minute, second] = [civil.hour(), civil.minute(), civil.second()].map(i16::from);
    Some([civil.year(), month, day, hour, minute, second])
}

/// The second that a date of HTTP names, as milliseconds; `None` if it is none.
pub fn parse(text: &str) -> Option<i64> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(parsed.as_second().saturating_mul(1000))
}

fn whole(ms: i64) -> Timestamp {
    Timestamp::from_second(ms.div_euclid(1000)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(parse(date), Some(784_111_777_000));
        assert_eq!(http(784_111_777_999), date);
        assert_eq!(iso(784_111_777_000), "1994-11-06T08:49:37Z");
        assert_eq!(http(i64::MIN), http(0));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(civil(784_111_777_999), Some([1994, 11, 6, 8, 49, 37]));
        assert_eq!(civil(i64::MAX), None);
    }
}
