//! For how long something has been so, whatever the clocks do.

use std::{collections::BTreeMap, time::Duration};

/// Remembered so long after they were seen last.
const FORGET: Duration = Duration::from_secs(3600);

struct Entry {
    first: Duration,
    last: Duration,
}

/// When facts were first seen, by the own monotonic clock.
///
/// Times that others wrote are compared with the wall clock, which jumps: an age is the longer of the two, so that a
/// clock that is behind delays nothing for longer than it lasts by the own count.
#[derive(Default)]
pub struct Ages {
    entries: BTreeMap<String, Entry>,
}

impl Ages {
    /// The age of a fact that is so now: since `said` (RFC 3339) where that is known, but at least since it was first
    /// seen. `now` is the wall clock's, `elapsed` the monotonic one's.
    pub fn of(&mut self, fact: &str, said: Option<&str>, now: &str, elapsed: Duration) -> Duration {
        let entry = self.entries.entry(fact.to_owned()).or_insert(Entry { first: elapsed, last: elapsed });
        entry.last = elapsed;
        let seen = elapsed.saturating_sub(entry.first);
        let times = (said.and_then(|said| said.parse::<jiff::Timestamp>().ok()), now.parse::<jiff::Timestamp>().ok());
        let (Some(said), Some(now)) = times else { return seen };
        Duration::try_from(now.duration_since(said)).unwrap_or_default().max(seen)
    }

    /// The fact is no longer so: next time it begins anew.
    pub fn end(&mut self, fact: &str) {
        self.entries.remove(fact);
    }

    /// Facts whose name begins so, with the time since they were seen last.
    pub fn gone<'a>(&'a self, prefix: &'a str, elapsed: Duration) -> impl Iterator<Item = (&'a str, Duration)> {
        self.entries.iter().filter_map(move |(fact, entry)| {
            Some((fact.strip_prefix(prefix)?, elapsed.saturating_sub(entry.last))).filter(|(_, ago)| !ago.is_zero())
        })
    }

    /// Forgets what was not seen for an hour.
    pub fn tidy(&mut self, elapsed: Duration) {
        self.entries.retain(|_, entry| elapsed.saturating_sub(entry.last) < FORGET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_age_is_the_longer_of_what_others_say_and_what_was_seen() {
        let mut ages = Ages::default();
        let said = Some("2026-11-20T09:00:00Z");
        assert_eq!(ages.of("a", said, "2026-11-20T09:00:30Z", SECOND), SECOND * 30);
        // The clock jumps back by a day: from then on the own count goes on.
        assert_eq!(ages.of("a", said, "2026-11-19T09:00:31Z", SECOND * 2), SECOND);
        assert_eq!(ages.of("a", said, "2026-11-19T09:01:31Z", SECOND * 62), SECOND * 61);
        assert_eq!(ages.of("b", None, "2026-11-20T09:00:30Z", SECOND * 5), Duration::ZERO);
        assert_eq!(ages.of("b", Some("yesterday"), "2026-11-20T09:00:30Z", SECOND * 7), SECOND * 2);
        ages.end("b");
        assert_eq!(ages.of("b", None, "2026-11-20T09:00:30Z", SECOND * 9), Duration::ZERO);
    }

    #[test]
    fn what_is_no_longer_seen_is_known_for_an_hour() {
        let mut ages = Ages::default();
        ages.of("job/a", None, "", SECOND);
        ages.of("job/b", None, "", SECOND);
        ages.of("job/b", None, "", SECOND * 9);
        assert_eq!(ages.gone("job/", SECOND * 9).collect::<Vec<_>>(), [("a", SECOND * 8)]);
        ages.tidy(SECOND * 3601);
        assert_eq!(ages.gone("job/", SECOND * 3602).map(|(name, _)| name).collect::<Vec<_>>(), ["b"]);
    }
}
