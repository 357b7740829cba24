//! A moment of the week as people write it: `Mon 08:00`, in UTC.

use std::fmt;

use jiff::{
    SignedDuration, Timestamp,
    civil::{Time, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// A moment that comes once a week, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weekly(Option<Moment>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    day: Weekday,
    hour: i8,
    minute: i8,
}

impl Weekly {
    /// Whether there is one at all.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.0.is_some()
    }

    /// When it came last, `now` included.
    #[must_use]
    pub fn last(self, now: Timestamp) -> Option<Timestamp> {
        let Moment { day, hour, minute } = self.0?;
        let today = now.to_zoned(TimeZone::UTC).date();
        let back = SignedDuration::from_hours(24 * i64::from(today.weekday().since(day)));
        let at = today.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp().checked_sub(back).ok()?;
        if at <= now { Some(at) } else { at.checked_sub(SignedDuration::from_hours(24 * 7)).ok() }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self(None));
        }
        let (day, time) = text.split_once(' ')?;
        let (_, day) = DAYS.iter().find(|(name, _)| *name == day)?;
        let (hour, minute) = time.trim_start().split_once(':')?;
        let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(hour) || !digits(minute) {
            return None;
        }
        let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
        Time::new(hour, minute, 0, 0).ok()?;
        Some(Self(Some(Moment { day: *day, hour, minute })))
    }
}

impl fmt::Display for Weekly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Moment { day, hour, minute }) = self.0 else { return Ok(()) };
        let name = DAYS.iter().find(|(_, known)| *known == day).map_or("", |(name, _)| name);
        write!(f, "{name} {hour:02}:{minute:02}")
    }
}

impl Serialize for Weekly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Weekly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is no moment of the week, such as `Mon 08:00` (UTC; empty: none)"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str, now: &str) -> String {
        Weekly::parse(text).unwrap().last(now.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn the_last_moment_is_at_most_a_week_ago() {
        // 2026-11-20 is a Friday.
        for (text, now, expected) in [
            ("Fri 09:00", "2026-11-20T09:00:00Z", "2026-11-20T09:00:00Z"),
            ("Fri 09:00", "2026-11-20T08:59:59Z", "2026-11-13T09:00:00Z"),
            ("Mon 08:00", "2026-11-20T09:00:00Z", "2026-11-16T08:00:00Z"),
            ("Sat 00:00", "2026-11-20T23:59:59Z", "2026-11-14T00:00:00Z"),
            ("Sun 23:59", "2027-01-01T00:00:00Z", "2026-12-27T23:59:00Z"),
        ] {
            assert_eq!(last(text, now), expected, "{text} at {now}");
        }
    }

    #[test]
    fn only_a_day_and_a_time_of_it_are_a_moment() {
        for good in ["Mon 08:00", "Sun 23:59", " Wed 00:00 "] {
            let read = Weekly::parse(good).unwrap();
            assert!(read.is_on());
            assert_eq!(read.to_string(), good.trim());
        }
        for bad in
            ["Mon", "mon 08:00", "Monday 08:00", "Mon 24:00", "Mon 08:60", "Mon 8:00", "Mon 08:00 CET", "+1 08:00"]
        {
            assert_eq!(Weekly::parse(bad), None, "{bad}");
        }
        assert_eq!(Weekly::parse(" "), Some(Weekly::default()));
        assert!(!Weekly::default().is_on() && Weekly::default().last(Timestamp::UNIX_EPOCH).is_none());
    }
}
