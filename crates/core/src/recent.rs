//! A small memory for names that clients choose.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// The longest name that is remembered.
const LONGEST_NAME: usize = 64;
/// The number of names in a generation.
const NAMES: usize = 64;
/// The number of bytes in a generation, of names and of values as their user gives them.
const BYTES: usize = 16 << 10;

/// A map from names to values that forgets what was not used of late, so that its size is bounded
/// whatever it is asked for.
///
/// There are two generations. A name that is used belongs to the young one; when that is full it
/// becomes the old one, and what was in that is forgotten. So what every request has stays, and
/// what only one has is gone soon. A list in the order of use would have to be changed by each
/// request.
#[derive(Debug)]
pub struct Recent<V, S = RandomState> {
    young: HashMap<Box<[u8]>, Entry<V>, S>,
    old: HashMap<Box<[u8]>, Entry<V>, S>,
    /// Of the young generation.
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
}

impl<V, S: Default> Default for Recent<V, S> {
    fn default() -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), bytes: 0 }
    }
}

impl<V, S: BuildHasher> Recent<V, S> {
    /// Returns the value of a young name, as most are that are known at all: one look.
    #[inline]
    pub fn young(&mut self, name: &[u8]) -> Option<&mut V> {
        self.young.get_mut(name).map(|entry| &mut entry.value)
    }

    /// Returns the value of an old name, which is young from now on.
    pub fn old(&mut self, name: &[u8]) -> Option<&mut V> {
        let (key, entry) = self.old.remove_entry(name)?;
        self.add(key, entry);
        self.young(name)
    }

    /// Remembers a value, for as long as the name is used.
    pub fn insert(&mut self, name: &[u8], value: V) {
        if name.len() <= LONGEST_NAME {
            self.add(name.into(), Entry { value, bytes: name.len() });
        }
    }

    /// Sets the size of the value of a name, in bytes.
    pub fn set_size(&mut self, name: &[u8], bytes: usize) {
        if let Some(entry) = self.young.get_mut(name) {
            let bytes = bytes + name.len();
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
            if self.bytes > BYTES {
                self.age();
            }
        }
    }

    fn add(&mut self, name: Box<[u8]>, entry: Entry<V>) {
        if self.young.len() >= NAMES || self.bytes + entry.bytes > BYTES {
            self.age();
        }
        self.bytes += entry.bytes;
        self.young.insert(name, entry);
    }

    fn age(&mut self) {
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(recent: &mut Recent<u32>, name: &str) -> Option<u32> {
        let name = name.as_bytes();
        recent.young(name).copied().or_else(|| recent.old(name).copied())
    }

    fn bytes(recent: &Recent<u32>) -> usize {
        recent.young.values().chain(recent.old.values()).map(|entry| entry.bytes).sum()
    }

    #[test]
    fn used_names_stay_and_junk_goes() {
        let mut recent = Recent::<u32>::default();
        recent.insert(b"Host", 1);
        for junk in 0..10_000 {
            recent.insert(format!("X-Junk-{junk}").as_bytes(), junk);
            assert_eq!(used(&mut recent, "Host"), Some(1));
        }
        assert!(recent.young.len() <= NAMES && recent.old.len() <= NAMES);
        assert_eq!(used(&mut recent, "X-Junk-0"), None);
        assert_eq!(used(&mut recent, "X-Junk-9999"), Some(9999));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut recent = Recent::<u32>::default();
        for number in 0..10_000_u32 {
            let name = format!("X-{number}");
            recent.insert(name.as_bytes(), number);
            recent.set_size(name.as_bytes(), 1_024);
            // One value may be beyond the end of a generation.
            assert!(bytes(&recent) <= 2 * (BYTES + 1_100), "{}", bytes(&recent));
        }
        let mut one = Recent::<u32>::default();
        one.insert(b"Cookie", 0);
        for length in [10, 1_000, 20] {
            one.set_size(b"Cookie", length);
            assert_eq!((one.bytes, bytes(&one)), (6 + length, 6 + length));
        }
        one.set_size(b"Unknown", 7);
        assert_eq!(one.bytes, 26);
    }

    #[test]
    fn long_names_are_not_remembered() {
        let mut recent = Recent::<u32>::default();
        recent.insert(&[b'x'; LONGEST_NAME], 1);
        recent.insert(&[b'x'; LONGEST_NAME + 1], 2);
        assert_eq!(recent.young(&[b'x'; LONGEST_NAME]), Some(&mut 1));
        assert_eq!(recent.young(&[b'x'; LONGEST_NAME + 1]), None);
        assert_eq!(recent.young.len(), 1);
    }
}
