//! Kills by the system for lack of memory, as it counts them.

use std::fs;
use std::path::PathBuf;

/// The count of processes that the system has killed for lack of memory: in the control group of this
/// process, or on the whole machine where there are no such groups.
///
/// The system does not say which process it was. A process that has died of SIGKILL while the count
/// rose is taken for it.
#[derive(Debug)]
pub struct MemoryKills {
    file: Option<PathBuf>,
    seen: u64,
}

/// The count of the whole machine.
const OF_MACHINE: &str = "/proc/vmstat";

impl MemoryKills {
    /// Returns the count of this process's control group, from now on.
    #[must_use]
    pub fn of_this_process() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let files = files(&groups).into_iter().chain([PathBuf::from(OF_MACHINE)]);
        let mut counts = files.filter_map(|file| Some((count(&fs::read_to_string(&file).ok()?)?, file)));
        match counts.next() {
            Some((seen, file)) => Self { file: Some(file), seen },
            None => Self { file: None, seen: 0 },
        }
    }

    /// Returns whether there is a kill that was not taken yet, and takes it.
    #[must_use]
    pub fn take_new(&mut self) -> bool {
        let Some(now) = self.file.as_ref().and_then(|file| count(&fs::read_to_string(file).ok()?)) else {
            return false;
        };
        let is_new = now > self.seen;
        self.seen += u64::from(is_new);
        is_new
    }
}

/// Returns the files that may have the count, best first, for a list of groups as in `cgroups(7)`.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let Ok([_, controllers, path]) = <[&str; 3]>::try_from(line.splitn(3, ':').collect::<Vec<_>>())
        else {
            continue;
        };
        let (mount, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.events"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.oom_control")
            }
            _ => continue,
        };
        // A container may see only its own part of the hierarchy, under the path in the whole machine.
        files.push([mount, path.trim_start_matches('/'), name].iter().collect());
        files.push([mount, name].iter().collect());
    }
    files
}

/// Returns the count in the text of a file.
fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_the_control_group() {
        let paths =
            |groups| -> Vec<String> { files(groups).iter().map(|path| path.display().to_string()).collect() };
        assert_eq!(
            paths("0::/system.slice/apache2.service\n"),
            ["/sys/fs/cgroup/system.slice/apache2.service/memory.events", "/sys/fs/cgroup/memory.events"]
        );
        assert_eq!(
            paths("9:name=systemd:/\n4:cpu,memory:/a:b\n"),
            ["/sys/fs/cgroup/memory/a:b/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control"]
        );
        assert!(paths("nonsense\n1:cpu:/\n").is_empty());
        assert_eq!(count("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn each_kill_is_taken_once() {
        let directory = std::env::temp_dir().join(format!("memory-kills-{}", std::process::id()));
        fs::write(&directory, "oom_kill 5\n").unwrap();
        let mut kills = MemoryKills { file: Some(directory.clone()), seen: 5 };
        assert!(!kills.take_new());
        fs::write(&directory, "oom_kill 7\n").unwrap();
        assert!(kills.take_new() && kills.take_new() && !kills.take_new());
        fs::remove_file(directory).unwrap();
        assert!(!kills.take_new(), "it cannot be known");
    }
}
