//! Moments as a person types them: a length of time from or to now, a day, or the moment itself.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// What can't be counted from now on.
const TOO_LONG: &str = "too long, or not of one length: give it in weeks, days, hours or minutes, or give a day";

/// A moment to come: in so long, or on a day, at whose beginning (UTC) it is.
pub fn future(text: &str) -> Result<Timestamp, String> {
    match length(text)? {
        Some(length) => Timestamp::now().checked_add(length).map_err(|_| TOO_LONG.to_owned()),
        None => given(text).ok_or_else(|| "neither a length of time, such as 90d, nor a day".to_owned()),
    }
}

/// A moment that was: so long ago, or a day, at whose beginning (UTC) it is.
pub fn past(text: &str) -> Result<Timestamp, String> {
    match length(text)? {
        Some(length) => Timestamp::now().checked_sub(length).map_err(|_| TOO_LONG.to_owned()),
        None => given(text).ok_or_else(|| "neither a length of time, such as 2h, nor a day or a moment".to_owned()),
    }
}

fn length(text: &str) -> Result<Option<SignedDuration>, String> {
    let Ok(span) = text.parse::<Span>() else { return Ok(None) };
    // Months and years have no one length.
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map(Some).map_err(|_| TOO_LONG.to_owned())
}

fn given(text: &str) -> Option<Timestamp> {
    text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_typed_as_lengths_days_and_moments() {
        for (read, text, hours) in [
            (future as fn(&str) -> Result<Timestamp, String>, "90d", 2160),
            (future, "12h", 12),
            (future, "2 weeks", 336),
            (past, "30h", -30),
            (past, "2d", -48),
        ] {
            let length = SignedDuration::from_hours(hours);
            let earliest = Timestamp::now() + length;
            let moment = read(text).unwrap();
            assert!(earliest <= moment && moment <= Timestamp::now() + length, "{text}: {moment}");
        }
        for read in [future, past] {
            assert_eq!(read("2040-06-30").unwrap().to_string(), "2040-06-30T00:00:00Z");
            assert!(read("2040-06-30T12:00:00+02:00").is_ok());
            for bad in ["", "soon", "90", "2040-13-01", "1 year"] {
                assert!(read(bad).is_err(), "{bad}");
            }
        }
    }
}
