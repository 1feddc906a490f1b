//! The process title: what `ps` and `pkill -f` see.

use std::io;
use std::ops::Range;
use std::ptr;

/// Overwrites the program's arguments with `title`, cut to their total length; nothing of them
/// stays visible.
///
/// # Errors
/// There is no `/proc`, for example in a jail (`chroot`) without one.
pub fn set(title: &[u8]) -> io::Result<()> {
    let stat = std::fs::read("/proc/self/stat")?;
    let Range { start, end } = arguments(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let room = end - start;
    // One byte stays for the end of the string.
    let length = title.len().min(room - 1);
    let area = ptr::with_exposed_provenance_mut::<u8>(start);
    // SAFETY: the kernel says that the arguments of this process, which are on its stack and
    // writable, fill this range, `length` is less than it. Whoever keeps pointers to the arguments
    // finds strings there still, since the last byte stays 0.
    unsafe {
        ptr::write_bytes(area, 0, room);
        ptr::copy_nonoverlapping(title.as_ptr(), area, length);
    }
    Ok(())
}

/// Finds the arguments in proc(5) `stat`: its fields 48 and 49. The range is never empty.
fn arguments(stat: &[u8]) -> Option<Range<usize>> {
    // The second field is the name of the program in parentheses, which may hold anything.
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(48 - 3).map(str::parse::<usize>);
    match (fields.next()?, fields.next()?) {
        (Ok(start), Ok(end)) if start != 0 && start < end => Some(start..end),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_replaces_the_arguments() {
        let before = std::fs::read("/proc/self/cmdline").unwrap();
        set(b"(wsgi:x)").unwrap();
        let after = std::fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(after.len(), before.len());
        assert_eq!(after.iter().position(|&byte| byte == 0), Some(8));
        assert!(after.starts_with(b"(wsgi:x)") && after[8..].iter().all(|&byte| byte == 0));
        set(&vec![b'y'; before.len() + 5]).unwrap();
        let cut = std::fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(cut[..before.len() - 1], vec![b'y'; before.len() - 1]);
        assert!(std::env::vars_os().count() > 0, "the environment behind it is as it was");
    }

    #[test]
    fn the_range_is_found_behind_any_name() {
        let mut stat = String::from("7 (a) b) 1 2) S");
        for field in 4..=52 {
            stat.push_str(&format!(" {}", field * 100));
        }
        assert_eq!(arguments(stat.as_bytes()), Some(4800..4900));
        assert_eq!(arguments(b"7 (x) S 1 2"), None);
        assert_eq!(arguments(b""), None);
    }
}
