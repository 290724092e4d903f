//! Moments as a person types them: so long from or to now, a day, a time of the day, both, or seconds since 1970. Where no
//! zone is said it is UTC, as times are printed.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, ToSpan};

/// What can be typed.
const TAKES: &str = "it takes a length of time (90m, 2h, 2d), a day (today, 2026-01-31), a time (08:30), both \
    (2026-01-31 08:30), a moment with its zone (2026-01-31T08:30:00+01:00), or @SECONDS since 1970";
/// What can't be counted from now on.
const TOO_LONG: &str = "too long, or not of one length: give it in weeks, days, hours or minutes, or give a day";

/// Which way a length of time and a time of the day are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Back,
    On,
}

/// A moment to come: in so long, on a day, at whose beginning it is, or the next time that it is so late.
pub fn future(text: &str) -> Result<Timestamp, String> {
    read(text, Way::On, Timestamp::now())
}

/// A moment that was: so long ago, a day, at whose beginning it is, or the last time that it was so late.
pub fn past(text: &str) -> Result<Timestamp, String> {
    read(text, Way::Back, Timestamp::now())
}

fn read(text: &str, way: Way, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(length) = length(text, way)? {
        return now.checked_add(length).map_err(|_| TOO_LONG.to_owned());
    }
    let today = TimeZone::UTC.to_datetime(now).date();
    let read = match text.to_ascii_lowercase().as_str() {
        "now" => Some(now),
        "today" => start(Some(today)),
        "yesterday" => start(today.checked_sub(1.day()).ok()),
        "tomorrow" => start(today.checked_add(1.day()).ok()),
        _ => seconds(text).or_else(|| text.parse().ok()).or_else(|| civil(text)).or_else(|| late(text, way, now)),
    };
    read.ok_or_else(|| TAKES.to_owned())
}

/// From now to there.
fn length(text: &str, way: Way) -> Result<Option<SignedDuration>, String> {
    // `13:00:30` would be a length, too.
    let Some(span) = text.parse::<Span>().ok().filter(|_| !text.contains(':')) else { return Ok(None) };
    // Months and years have no one length.
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| TOO_LONG.to_owned())?;
    match way {
        // `2h`, `-2h` and `2h ago` are the same.
        Way::Back => Ok(Some(-length.abs())),
        Way::On if length.is_negative() => Err("a moment to come is wanted, and this one has been".to_owned()),
        Way::On => Ok(Some(length)),
    }
}

fn utc(moment: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(moment).ok()
}

fn start(day: Option<Date>) -> Option<Timestamp> {
    utc(day?.to_datetime(Time::midnight()))
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.strip_prefix('@')?.split_once('.').unwrap_or((text.strip_prefix('@')?, ""));
    let part = format!("{part:0<9}");
    let is_number = part.len() == 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = is_number.then(|| part.parse().ok()).flatten()?;
    Timestamp::new(whole.parse().ok()?, nanos).ok()
}

/// A day, with or without a time. One that says its zone in a way that can't be read says more than that.
fn civil(text: &str) -> Option<Timestamp> {
    let is_plain = |c: char| c.is_ascii_digit() || "-:. T".contains(c);
    text.chars().all(is_plain).then(|| text.parse().ok().and_then(utc)).flatten()
}

/// A time of the day.
fn late(text: &str, way: Way, now: Timestamp) -> Option<Timestamp> {
    if !text.contains(':') {
        return None;
    }
    let time: Time = text.parse().ok()?;
    let today = TimeZone::UTC.to_datetime(now).date();
    let at = |day: Date| utc(day.to_datetime(time));
    let moment = at(today)?;
    match way {
        Way::Back if moment > now => at(today.checked_sub(1.day()).ok()?),
        Way::On if moment <= now => at(today.checked_add(1.day()).ok()?),
        _ => Some(moment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_understood_as_they_are_typed() {
        let now: Timestamp = "2026-11-29T12:34:56Z".parse().unwrap();
        for (way, text, moment) in [
            (Way::On, "90d", "2027-02-27T12:34:56Z"),
            (Way::On, "2 weeks", "2026-12-13T12:34:56Z"),
            (Way::On, "tomorrow", "2026-11-30T00:00:00Z"),
            (Way::On, "12:00", "2026-11-30T12:00:00Z"),
            (Way::On, "13:00:30", "2026-11-29T13:00:30Z"),
            (Way::Back, "1h", "2026-11-29T11:34:56Z"),
            (Way::Back, "90m", "2026-11-29T11:04:56Z"),
            (Way::Back, "1h 30m", "2026-11-29T11:04:56Z"),
            (Way::Back, "2 days", "2026-11-27T12:34:56Z"),
            (Way::Back, "2d", "2026-11-27T12:34:56Z"),
            (Way::Back, "-1h", "2026-11-29T11:34:56Z"),
            (Way::Back, "1h ago", "2026-11-29T11:34:56Z"),
            (Way::Back, "PT1H", "2026-11-29T11:34:56Z"),
            (Way::Back, " now ", "2026-11-29T12:34:56Z"),
            (Way::Back, "Today", "2026-11-29T00:00:00Z"),
            (Way::Back, "yesterday", "2026-11-28T00:00:00Z"),
            (Way::Back, "12:00", "2026-11-29T12:00:00Z"),
            (Way::Back, "13:00", "2026-11-28T13:00:00Z"),
            (Way::Back, "2026-11-28", "2026-11-28T00:00:00Z"),
            (Way::Back, "2026-11-28 08:30", "2026-11-28T08:30:00Z"),
            (Way::Back, "2026-11-28T08:30:15", "2026-11-28T08:30:15Z"),
            (Way::Back, "2026-11-28T08:30:15Z", "2026-11-28T08:30:15Z"),
            (Way::Back, "2026-11-28T08:30:00+02:00", "2026-11-28T06:30:00Z"),
            (Way::Back, "@1700000000", "2023-11-14T22:13:20Z"),
            (Way::Back, "@1700000000.25", "2023-11-14T22:13:20.25Z"),
        ] {
            assert_eq!(read(text, way, now).map(|moment| moment.to_string()), Ok(moment.to_owned()), "{text}");
        }
        for (way, bad) in [Way::Back, Way::On].into_iter().flat_map(|way| {
            ["", "soon", "90", "2026-13-01", "1 year", "25:00", "@", "@x", "@1.x", "2026-11-28T08:30:00 Mars"]
                .map(|bad| (way, bad))
        }) {
            assert!(read(bad, way, now).is_err(), "{bad}");
        }
        assert!(read("1h ago", Way::On, now).is_err());
        assert!(!read("soon", Way::Back, now).unwrap_err().contains("pars"));
    }
}
