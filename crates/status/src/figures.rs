//! Numbers, as people read them.

use std::fmt::Write as _;

use crate::histogram::{BOUNDS, Histogram};

/// Returns a count with its digits in groups of three.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number with about three digits.
#[must_use]
pub fn decimal(number: f64) -> String {
    match number {
        _ if number == 0.0 => "0".to_owned(),
        _ if number < 10.0 => format!("{number:.2}"),
        _ if number < 100.0 => format!("{number:.1}"),
        _ => count(number.round() as u64),
    }
}

/// Returns a duration of a request.
#[must_use]
pub fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 0.1 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 60.0 => format!("{seconds:.1} s"),
        _ => age(seconds),
    }
}

/// Returns the duration that a share of all does not exceed, as far as the buckets of the
/// distribution tell.
#[must_use]
pub fn quantile(times: &Histogram, share: f64) -> String {
    let (lowest, highest) = (BOUNDS[0], BOUNDS[BOUNDS.len() - 1]);
    match times.quantile(share) {
        None => "–".to_owned(),
        Some(seconds) if seconds <= lowest => format!("< {}", plain_time(lowest)),
        Some(seconds) if seconds >= highest => format!("> {}", plain_time(highest)),
        Some(seconds) => time(seconds),
    }
}

/// Returns a bound of a bucket.
fn plain_time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{} ms", seconds * 1e3) } else { format!("{seconds} s") }
}

/// Returns a duration of something that may be long, in two units.
#[must_use]
pub fn age(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Returns a size in bytes.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1_024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while size >= 1_024.0 && units.len() > 0 {
        size /= 1_024.0;
        unit = units.next();
    }
    let digits = usize::from(size < 10.0);
    format!("{size:.digits$} {}", unit.unwrap_or(&"TB"))
}

/// Returns a share in percent.
#[must_use]
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// Returns a moment, given in seconds since the epoch, as a date and time of UTC, such as
/// `2026-11-27 04:29:12`.
#[must_use]
pub fn moment(seconds: f64) -> String {
    let whole = seconds.max(0.0) as i64;
    let (days, second) = (whole / 86_400, whole % 86_400);
    // The days since the first of March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) =
        (year + era * 400 + i64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    let mut text = String::with_capacity(19);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.126, 12.34, 1_234.5].map(decimal), ["0", "0.13", "12.3", "1,235"]);
        assert_eq!(
            [0.000_25, 0.012_34, 0.25, 2.5, 75.0].map(time),
            ["250 µs", "12.3 ms", "250 ms", "2.5 s", "1 min 15 s"]
        );
        assert_eq!([5.0, 3_700.0, 200_000.0].map(age), ["5 s", "1 h 1 min", "2 d 7 h"]);
        assert_eq!([12, 2_048, 52_428_800, u64::MAX].map(size), ["12 B", "2.0 KB", "50 MB", "16777216 TB"]);
        assert_eq!([0.0, 0.015, 0.5].map(percent), ["0 %", "1.5 %", "50 %"]);
    }

    #[test]
    fn shares_are_no_more_exact_than_buckets() {
        let times = |bucket: usize| {
            let mut buckets = vec![0; crate::histogram::BUCKETS];
            buckets[bucket] = 10;
            Histogram { buckets, sum: 0.0 }
        };
        assert_eq!([0, 1, 14].map(|bucket| quantile(&times(bucket), 0.5)), ["< 5 ms", "7.5 ms", "> 10 s"]);
        assert_eq!(quantile(&Histogram::default(), 0.5), "–");
    }

    #[test]
    fn moments_are_dates() {
        for (seconds, text) in [
            (0.0, "1970-01-01 00:00:00"),
            (951_782_399.0, "2000-02-28 23:59:59"),
            (951_782_400.0, "2000-02-29 00:00:00"),
            (1_709_251_199.9, "2024-02-29 23:59:59"),
            (1_709_251_200.0, "2024-03-01 00:00:00"),
            (1_795_753_752.0, "2026-11-27 04:29:12"),
        ] {
            assert_eq!(moment(seconds), text);
        }
    }
}
