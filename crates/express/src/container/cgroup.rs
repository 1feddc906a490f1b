//! The limits that control groups set for this process, and so for the server that it starts.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The limits of a container; `None` where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Thousandths of a processor.
    pub(crate) processors: Option<u64>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Processes and threads.
    pub(crate) tasks: Option<u64>,
}

/// A hierarchy of control groups, and the place of this process in it.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// The directory of the mount, from which the groups' own directories begin.
    mount: PathBuf,
    /// The path of this process's group below the mount.
    group: PathBuf,
}

impl Limits {
    /// Reads the limits of this process. `root` is the directory that `/proc` and `/sys` are in.
    ///
    /// Whatever cannot be read is no limit: without it, the server has its usual size.
    pub(crate) fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let (groups, mounts) = (text("proc/self/cgroup"), text("proc/self/mountinfo"));
        let unified = Hierarchy::find(&groups, &mounts, None);
        let least =
            |controller: &str, new: &dyn Fn(&Path) -> Option<u64>, old: &dyn Fn(&Path) -> Option<u64>| {
                let own = Hierarchy::find(&groups, &mounts, Some(controller));
                let new = unified.iter().filter_map(|hierarchy| hierarchy.least(root, new));
                new.chain(own.iter().filter_map(|hierarchy| hierarchy.least(root, old))).min()
            };
        let number = |name: &'static str| move |directory: &Path| read_number(&directory.join(name));
        let quota = least("cpu", &quota, &old_quota);
        let cpuset = cpuset(&text("proc/self/status"), &text("sys/devices/system/cpu/online"));
        Self {
            processors: quota.into_iter().chain(cpuset).min(),
            memory: least("memory", &number("memory.max"), &number("memory.limit_in_bytes"))
                .filter(|bytes| *bytes < NO_LIMIT),
            tasks: least("pids", &number("pids.max"), &number("pids.max")),
        }
    }
}

/// More than any machine has. Version 1 of control groups writes the greatest number of pages
/// instead of "max".
const NO_LIMIT: u64 = 1 << 60;

impl Hierarchy {
    /// Finds the hierarchy of a controller of version 1, or the one of version 2, in the lists of
    /// this process's groups and mounts (`cgroups(7)`, `proc_pid_mountinfo(5)`).
    fn find(groups: &str, mounts: &str, controller: Option<&str>) -> Option<Self> {
        let group = groups.lines().find_map(|line| {
            let [number, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
            let is_it = match controller {
                Some(name) => controllers.split(',').any(|each| each == name),
                None => number == "0" && controllers.is_empty(),
            };
            is_it.then_some(path)
        })?;
        mounts.lines().find_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let mut kind = kind.split(' ');
            let is_it = match (kind.next()?, controller) {
                ("cgroup", Some(name)) => kind.nth(1)?.split(',').any(|option| option == name),
                ("cgroup2", None) => true,
                _ => false,
            };
            let mut fields = mount.split(' ').skip(3);
            let (top, mount) = (fields.next()?, fields.next()?);
            // Some containers see the path in the whole machine, but only their own part of the
            // hierarchy; a path with dots is that of a group outside of what is mounted.
            let below = Path::new(group).strip_prefix(top).ok();
            let below = below.filter(|path| !path.components().any(|part| part.as_os_str() == ".."));
            is_it.then(|| Self { mount: mount.into(), group: below.unwrap_or(Path::new("")).into() })
        })
    }

    /// Returns the least limit of this process's group and those above it, each of which counts.
    fn least(&self, root: &Path, limit: &dyn Fn(&Path) -> Option<u64>) -> Option<u64> {
        let mount = root.join(self.mount.strip_prefix("/").unwrap_or(&self.mount));
        self.group.ancestors().filter_map(|group| limit(&mount.join(group))).min()
    }
}

/// Returns the limit in thousandths of a processor that version 2 writes: `max 100000`, or the
/// microseconds in each period.
fn quota(directory: &Path) -> Option<u64> {
    let text = fs::read_to_string(directory.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    thousandths(quota.parse().ok()?, period.parse().ok()?)
}

/// Returns the limit in thousandths of a processor that version 1 writes.
fn old_quota(directory: &Path) -> Option<u64> {
    // -1 is none.
    thousandths(
        read_number(&directory.join("cpu.cfs_quota_us"))?,
        read_number(&directory.join("cpu.cfs_period_us"))?,
    )
}

fn thousandths(quota: u64, period: u64) -> Option<u64> {
    let thousandths = u128::from(quota) * 1000 / u128::from(Some(period).filter(|period| *period > 0)?);
    u64::try_from(thousandths).ok().map(|limit| limit.max(1))
}

/// Returns the processors that this process may use, in thousandths, if they are not all of the
/// machine's.
fn cpuset(status: &str, online: &str) -> Option<u64> {
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let (allowed, online) = (ranges(allowed)?, ranges(online)?);
    let usable: u64 = online
        .iter()
        .flat_map(|online| {
            allowed.iter().map(move |allowed| {
                let (first, last) = (online.start().max(allowed.start()), online.end().min(allowed.end()));
                (last + 1).saturating_sub(*first)
            })
        })
        .sum();
    let all: u64 = online.iter().map(|range| (range.end() + 1).saturating_sub(*range.start())).sum();
    (0 < usable && usable < all).then(|| usable * 1000)
}

/// Parses a list such as `0-3,8`.
fn ranges(list: &str) -> Option<Vec<RangeInclusive<u64>>> {
    /// More than the kernel knows.
    const MOST: u64 = 1 << 20;
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < MOST).then_some(first..=last)
    };
    list.trim().split(',').map(range).collect()
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Makes a directory with these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let file = directory.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        directory
    }

    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n";

    fn limits(files: &[(&str, &str)]) -> Limits {
        Limits::read(machine(files).path())
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_top() {
        let found = limits(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
            ("sys/fs/cgroup/pids.max", "100\n"),
        ]);
        let expected = Limits { processors: Some(1500), memory: Some(512 << 20), tasks: Some(100) };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_tightest_limit_of_the_groups_above_counts() {
        let found = limits(&[
            ("proc/self/cgroup", "0::/kubepods/pod1/app\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/kubepods/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/kubepods/pod1/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/kubepods/pod1/app/cpu.max", "200000 100000\n"),
            ("sys/fs/cgroup/kubepods/pod1/memory.max", "1000000000\n"),
            ("sys/fs/cgroup/kubepods/pod1/app/memory.max", "max\n"),
            ("sys/fs/cgroup/kubepods/other/memory.max", "1\n"),
        ]);
        assert_eq!(found, Limits { processors: Some(500), memory: Some(1_000_000_000), tasks: None });
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
            40 31 0:37 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n\
            41 31 0:38 / /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n";
        let found = limits(&[
            (
                "proc/self/cgroup",
                "8:pids:/docker/abc\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
            ),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "25000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/pids/pids.max", "max\n"),
        ]);
        assert_eq!(found, Limits { processors: Some(250), memory: Some(256 << 20), tasks: None });
    }

    #[test]
    fn numbers_that_stand_for_none_are_no_limits() {
        let mounts = "32 31 0:29 / /cpu ro - cgroup cgroup rw,cpu\n35 31 0:32 / /memory ro - cgroup cgroup rw,memory\n";
        let found = limits(&[
            ("proc/self/cgroup", "4:memory:/\n2:cpu:/\n"),
            ("proc/self/mountinfo", mounts),
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(found, Limits::default());
        assert_eq!(limits(&[]), Limits::default());
        assert_eq!(limits(&[("proc/self/cgroup", "0::/\n")]), Limits::default());
    }

    #[test]
    fn a_group_outside_of_what_is_mounted_is_that_of_the_mount() {
        for path in ["/../../elsewhere", "/system.slice/docker-abc.scope"] {
            let found = limits(&[
                ("proc/self/cgroup", &format!("0::{path}\n")),
                ("proc/self/mountinfo", &UNIFIED.replace(" / ", " /other ")),
                ("sys/fs/cgroup/pids.max", "64\n"),
            ]);
            assert_eq!(found.tasks, Some(64), "{path}");
        }
    }

    #[test]
    fn some_of_the_machine_s_processors_are_a_limit() {
        let status = |list: &str| format!("Name:\tx\nCpus_allowed_list:\t{list}\n");
        for (allowed, online, expected) in [
            ("0-1", "0-7\n", Some(2000)),
            ("1,3,5-6", "0-7\n", Some(4000)),
            ("0-7", "0-7\n", None),
            // The kernel allows those that could be plugged in, too.
            ("0-127", "0-1\n", None),
            ("0,64-127", "0-1\n", Some(1000)),
            ("", "0-1\n", None),
            ("0", "", None),
            ("3-1", "0-7\n", None),
            ("0-99999999999", "0-7\n", None),
        ] {
            assert_eq!(cpuset(&status(allowed), online), expected, "{allowed} of {online}");
        }
        let quota = ("sys/fs/cgroup/cpu.max", "100000 100000\n");
        let files = [("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", UNIFIED), quota];
        let cpus = [("proc/self/status", &*status("0-1")), ("sys/devices/system/cpu/online", "0-7\n")];
        assert_eq!(limits(&[&files[..], &cpus].concat()).processors, Some(1000));
        assert_eq!(limits(&cpus).processors, Some(2000));
    }

    proptest! {
        // Each case makes files.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_text_can_be_read(groups in ".{0,60}", mounts in ".{0,80}", quota in "[0-9max -]{0,24}", list in "[0-9,-]{0,12}") {
            let line = format!("Cpus_allowed_list: {list}");
            limits(&[("proc/self/cgroup", &groups), ("proc/self/mountinfo", &mounts)]);
            limits(&[
                ("proc/self/cgroup", "0::/a\n"),
                ("proc/self/mountinfo", UNIFIED),
                ("sys/fs/cgroup/a/cpu.max", &quota),
                ("sys/fs/cgroup/memory.max", &quota),
                ("proc/self/status", &line),
                ("sys/devices/system/cpu/online", &list),
            ]);
        }
    }
}
