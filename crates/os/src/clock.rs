//! The time of day, as the server's error log has it; and a clock that all processes have in
//! common.

use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes the time in the local time zone, such as `Sun Nov 22 19:04:23.123456 2026`.
///
/// # Errors
/// The error of writing to `text`.
pub(crate) fn write_timestamp(text: &mut impl Write, time: SystemTime) -> fmt::Result {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let local = local(libc::time_t::try_from(since.as_secs()).unwrap_or(libc::time_t::MAX));
    let name = |names: &[&'static str], index: i32| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or("?")
    };
    write!(
        text,
        "{} {} {:02} {:02}:{:02}:{:02}.{:06} {}",
        name(&DAYS, local.tm_wday),
        name(&MONTHS, local.tm_mon),
        local.tm_mday,
        local.tm_hour,
        local.tm_min,
        local.tm_sec,
        since.subsec_micros(),
        i64::from(local.tm_year) + 1900,
    )
}

/// Returns the time in the local time zone as RFC 3339 has it, such as
/// `2026-11-22T19:04:23.123456+01:00`.
#[must_use]
pub fn rfc_3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let local = local(libc::time_t::try_from(since.as_secs()).unwrap_or(libc::time_t::MAX));
    format!(
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}{}",
        i64::from(local.tm_year) + 1900,
        local.tm_mon + 1,
        local.tm_mday,
        local.tm_hour,
        local.tm_min,
        local.tm_sec,
        since.subsec_micros(),
        zone(local.tm_gmtoff),
    )
}

/// Returns the difference of the local time zone from UTC, such as `+01:00`.
#[must_use]
pub fn local_zone(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    zone(local(libc::time_t::try_from(since.as_secs()).unwrap_or(libc::time_t::MAX)).tm_gmtoff)
}

fn zone(seconds: libc::c_long) -> String {
    let minutes = seconds.unsigned_abs() / 60;
    format!("{}{:02}:{:02}", if seconds < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
}

/// Returns the time in microseconds since the Unix epoch, as APR counts it.
#[must_use]
pub fn microseconds() -> i64 {
    (nanoseconds() / 1000).cast_signed()
}

/// Returns the time in nanoseconds since the Unix epoch.
#[must_use]
#[inline]
pub fn nanoseconds() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// Returns the nanoseconds of a clock that nobody sets: for the time between two readings, which takes
/// fewer steps than with `Instant`s.
#[must_use]
#[inline]
pub fn monotonic() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Returns the nanoseconds of a clock that every system has.
#[inline]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the answer.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Returns the milliseconds of a clock that nobody sets. All processes see the same; after seven
/// weeks it begins again.
#[must_use]
pub fn ticks() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the answer; every system has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u32).wrapping_mul(1000).wrapping_add((time.tv_nsec / 1_000_000) as u32)
}

fn local(seconds: libc::time_t) -> libc::tm {
    let mut local = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r reads one and writes the other; all zeroes are a valid value if it fails.
    unsafe {
        libc::localtime_r(&raw const seconds, local.as_mut_ptr());
        local.assume_init()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ticks_are_milliseconds() {
        // In this order, and that below, the test may be interrupted anywhere.
        let (begin, before) = (std::time::Instant::now(), ticks());
        std::thread::sleep(Duration::from_millis(20));
        let (passed, elapsed) = (ticks().wrapping_sub(before), begin.elapsed());
        assert!((20..=elapsed.as_millis() as u32 + 1).contains(&passed), "{passed} ms, {elapsed:?}");
    }

    #[test]
    fn times_name_their_zone() {
        let time = UNIX_EPOCH + Duration::new(1_795_374_263, 123_456_789);
        let text = rfc_3339(time);
        assert!(text.starts_with("2026-11-2") && text.contains(":23.123456"), "{text}");
        assert!(text.ends_with(&local_zone(time)), "{text}");
        assert_eq!([zone(0), zone(19_800), zone(-34_200)], ["+00:00", "+05:30", "-09:30"]);
    }

    #[test]
    fn a_stamp_is_as_apache_writes_it() {
        let mut text = String::new();
        write_timestamp(&mut text, UNIX_EPOCH + Duration::new(1_795_374_263, 123_456_789)).unwrap();
        // The day and the hour depend on the time zone of the machine.
        let fields: Vec<_> = text.split(' ').collect();
        let [day, "Nov", date, time, "2026"] = fields[..] else { panic!("{text}") };
        assert!(DAYS.contains(&day) && ["22", "23"].contains(&date), "{text}");
        assert!(time.len() == 15 && time.ends_with(":23.123456"), "{text}");
    }
}
