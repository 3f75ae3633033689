//! Which ended jobs go: oldest end first, until number, bytes and age are within the limits.

use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::{error::Error, record::Limits, rows};

/// A clock that is this far ahead of the journal's latest entry was perhaps set wrong, and is not believed at once.
const JUMP: Duration = Duration::from_secs(30 * 86_400);

/// A clock that jumped is believed after this time, in which a wrong one is commonly set right.
const PROBATION: Duration = Duration::from_secs(3_600);

/// Ended jobs that go in one transaction: new work does not wait for more.
const MAX_AT_ONCE: usize = 64;

/// The limits, and a clock for them.
#[derive(Debug)]
pub(super) struct Retention {
    limits: Limits,
    wall: SystemTime,
    seen: Instant,
    trusted_from: Instant,
}

impl Retention {
    /// Begins at `now`; `latest` is the latest time in the journal.
    pub(super) fn new(
        limits: Limits,
        latest: Option<SystemTime>,
        (wall, now): (SystemTime, Instant),
    ) -> Self {
        let mut retention = Self {
            limits,
            wall: latest.unwrap_or(wall),
            seen: now,
            trusted_from: now,
        };
        retention.look((wall, now));
        retention
    }

    /// Jobs to forget now, by key: at most a few at once; call again until there are none.
    pub(super) fn doomed(
        &mut self,
        connection: &Connection,
        now: (SystemTime, Instant),
    ) -> Result<Vec<i64>, Error> {
        self.look(now);
        let Limits {
            max_images,
            max_age,
            max_bytes,
        } = self.limits;
        let oldest = max_age
            .filter(|_| now.1 >= self.trusted_from)
            .and_then(|age| now.0.checked_sub(age))
            .map(rows::micros);
        let [max_images, max_bytes] = [max_images, max_bytes].map(|most| match most {
            0 => u64::MAX,
            most => most,
        });
        let mut statement = connection.prepare(
            "SELECT sequence, finished_us, kept_images, kept_bytes FROM job
            WHERE ended IS NOT NULL ORDER BY ended DESC",
        )?;
        let mut ended = statement.query([])?;
        let (mut images, mut bytes, mut is_over) = (0_u64, 0_u64, false);
        let mut doomed = Vec::new();
        let mut is_last = true;
        while let Some(row) = ended.next()? {
            let finished: Option<i64> = row.get(1)?;
            images = images.saturating_add(row.get::<_, i64>(2)?.cast_unsigned().max(1));
            bytes = bytes.saturating_add(row.get::<_, i64>(3)?.cast_unsigned());
            // The one that ended last may alone be more than the limits, and its client has yet to fetch it.
            is_over |= !is_last && (images > max_images || bytes > max_bytes);
            is_last = false;
            if is_over
                || finished
                    .zip(oldest)
                    .is_some_and(|(end, oldest)| end < oldest)
            {
                doomed.push(row.get(0)?);
            }
        }
        doomed.reverse();
        doomed.truncate(MAX_AT_ONCE);
        Ok(doomed)
    }

    /// Compares the clock on the wall with the one that cannot be set.
    fn look(&mut self, (wall, now): (SystemTime, Instant)) {
        let expected = self
            .wall
            .checked_add(now.saturating_duration_since(self.seen));
        let ahead = expected.and_then(|expected| wall.duration_since(expected).ok());
        if ahead.is_some_and(|ahead| ahead > JUMP) {
            tracing::info!("the clock is far ahead of the journal: nothing is too old for an hour");
            self.trusted_from = now.checked_add(PROBATION).unwrap_or(now);
        }
        (self.wall, self.seen) = (wall, now);
    }
}
