//! The unit by which systemd starts a server: its sandbox and its limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::finding::Place;

/// The directories of units, those that win first.
const DIRECTORIES: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// The settings of a service, with what administrators have added to them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unit {
    /// By their keys; a list has each of its lines.
    settings: BTreeMap<String, Vec<(String, Place)>>,
}

impl Unit {
    /// Reads a unit by its name or its path. `root` is the directory that systemd's are in. Returns
    /// `None` if there is none.
    pub(crate) fn read(name: &str, root: &Path) -> Option<Self> {
        let mut unit = Self::default();
        if name.contains('/') {
            unit.add(Path::new(name))?;
            return Some(unit);
        }
        let places = DIRECTORIES.map(|directory| root.join(directory));
        places.iter().find_map(|directory| unit.add(&directory.join(name)))?;
        let mut further: BTreeMap<_, PathBuf> = BTreeMap::new();
        for directory in places.map(|directory| directory.join(format!("{name}.d"))) {
            for file in os::file::names(&directory) {
                if file.to_string_lossy().ends_with(".conf") {
                    further.entry(file.clone()).or_insert_with(|| directory.join(file));
                }
            }
        }
        for file in further.values() {
            unit.add(file);
        }
        Some(unit)
    }

    /// Adds the lines of a file.
    fn add(&mut self, file: &Path) -> Option<()> {
        let text = os::file::read_small(file).ok()?;
        let text = String::from_utf8_lossy(&text);
        let mut section = "";
        let mut whole = String::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(begun) = line.strip_suffix('\\') {
                whole += begun;
                whole.push(' ');
                continue;
            }
            whole += line;
            let line = std::mem::take(&mut whole);
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = if name == "Service" { "Service" } else { "" };
            } else if let Some((key, value)) = line.split_once('=').filter(|_| section == "Service") {
                let values = self.settings.entry(key.trim().to_owned()).or_default();
                // An empty one takes back those before it.
                if value.trim().is_empty() {
                    values.clear();
                } else {
                    values.push((value.trim().to_owned(), Place::line(file, number)));
                }
            }
        }
        Some(())
    }

    /// Returns the value of a setting, and its place.
    pub(crate) fn value(&self, key: &str) -> Option<(&str, &Place)> {
        let (value, place) = self.settings.get(key)?.last()?;
        Some((value, place))
    }

    /// Returns the place of a setting that is on.
    pub(crate) fn is_on(&self, key: &str) -> Option<&Place> {
        let (value, place) = self.value(key)?;
        ["1", "yes", "y", "true", "t", "on"].contains(&value.to_ascii_lowercase().as_str()).then_some(place)
    }

    /// Returns the words of all lines of a setting, and their places.
    pub(crate) fn words(&self, key: &str) -> impl Iterator<Item = (&str, &Place)> {
        let lines = self.settings.get(key).into_iter().flatten();
        lines.flat_map(|(value, place)| value.split_whitespace().map(move |word| (word, place)))
    }

    /// Returns the paths of a setting. A sign in front says that they may be missing, or are below
    /// the service's root.
    pub(crate) fn paths(&self, key: &str) -> impl Iterator<Item = (&Path, &Place)> {
        self.words(key).map(|(word, place)| (Path::new(word.trim_start_matches(['-', '+'])), place))
    }

    /// Returns the number of a limit; `None` if there is none.
    pub(crate) fn limit(&self, key: &str) -> Option<(u64, &Place)> {
        let (value, place) = self.value(key)?;
        // The first of two is the one in force.
        let value = value.split(':').next()?.trim();
        let (digits, unit) = match value.find(|c: char| !c.is_ascii_digit()) {
            Some(at) => value.split_at(at),
            None => (value, ""),
        };
        let shift = match unit {
            "" | "B" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return None,
        };
        Some((digits.parse::<u64>().ok()?.checked_shl(shift)?, place))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn administrators_add_to_units() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let service = "[Unit]\nPrivateTmp=no\n[Service]\n# PrivateTmp=no\nPrivateTmp=true\nInaccessiblePaths=/a \\\n  -/b\nLimitNOFILE=1024:4096\n\
                       ProtectHome=yes\n[Install]\nProtectHome=no\n";
        write("usr/lib/systemd/system/httpd.service", service);
        write("etc/systemd/system/httpd.service.d/10-own.conf", "[Service]\nProtectHome=\nMemoryMax=2G\n");
        let unit = Unit::read("httpd.service", root.path()).unwrap();
        let file = root.path().join("usr/lib/systemd/system/httpd.service");
        assert_eq!(unit.is_on("PrivateTmp"), Some(&Place::line(&file, 5)));
        assert!(unit.value("ProtectHome").is_none() && unit.is_on("NoSuch").is_none());
        let paths: Vec<_> = unit.paths("InaccessiblePaths").map(|(path, _)| path.to_owned()).collect();
        assert_eq!(paths, [Path::new("/a"), Path::new("/b")]);
        assert_eq!(unit.limit("LimitNOFILE").unwrap().0, 1024);
        assert_eq!(unit.limit("MemoryMax").unwrap().0, 2 << 30);
        assert!(Unit::read("apache2.service", root.path()).is_none());
        assert!(Unit::read(&file.to_string_lossy(), root.path()).unwrap().value("ProtectHome").is_some());
    }
}
