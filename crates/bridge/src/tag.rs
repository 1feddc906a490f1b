//! The beginning of every table and record.

use std::fmt;

use crate::ABI;

/// The build of a table or record, and its length in bytes. It is the first field, and is read
/// before any other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    abi: u32,
    size: u32,
}

impl Tag {
    /// Returns the tag of a `T` of this build.
    #[must_use]
    pub const fn of<T: Tagged>() -> Self {
        // All records are far smaller than `u32::MAX`.
        Self { abi: ABI, size: size_of::<T>() as u32 }
    }

    /// Returns the version of the bridge: [`ABI`] of its build.
    #[must_use]
    pub const fn abi(self) -> u32 {
        self.abi
    }

    /// Returns the length.
    #[must_use]
    pub const fn size(self) -> u32 {
        self.size
    }
}

/// A table or record that begins with its [`Tag`].
///
/// # Safety
/// It is `repr(C)`, and a [`Tag`] is its first field. [`tagged!`] makes sure of the latter.
pub unsafe trait Tagged {}

macro_rules! tagged {
    ($($record:ty),* $(,)?) => { $(
        // SAFETY: it is `repr(C)`, and the place of its tag is asserted.
        unsafe impl $crate::tag::Tagged for $record {}
        const _: () = assert!(std::mem::offset_of!($record, tag) == 0);
    )* };
}
pub(crate) use tagged;

/// The error of a table or record that is missing, or of another build than this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherBuild {
    found: Option<Tag>,
    own: Tag,
}

impl fmt::Display for OtherBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            None => f.write_str("gives no table of functions"),
            Some(Tag { abi, size }) => write!(
                f,
                "is of another build (bridge {abi:08x}, {size} bytes) than the module (bridge {:08x}, {} bytes)",
                self.own.abi, self.own.size
            ),
        }
    }
}

/// Returns a record of the other side if it is of this build.
///
/// # Safety
/// `pointer` is null, or leads to a tag with as much memory as it says, to be read for as long as
/// `'a`.
#[inline]
pub unsafe fn checked<'a, T: Tagged>(pointer: *const T) -> Result<&'a T, OtherBuild> {
    // SAFETY: by the caller's promise there is a tag, which `Tagged` has at the beginning.
    let found = unsafe { pointer.cast::<Tag>().as_ref() }.copied();
    let own = Tag::of::<T>();
    if found != Some(own) {
        return Err(OtherBuild { found, own });
    }
    // SAFETY: of this build, so it is a `T`.
    Ok(unsafe { &*pointer })
}

/// Checks a record like [`checked`], and returns it for changes.
///
/// # Safety
/// As for [`checked`], and nobody else reads or changes it.
#[inline]
pub(crate) unsafe fn checked_mut<'a, T: Tagged>(pointer: *mut T) -> Result<&'a mut T, OtherBuild> {
    // SAFETY: by the caller's promise; the shared reference ends here.
    unsafe { checked::<T>(pointer) }?;
    // SAFETY: by the caller's promise, it is a `T` that nobody else uses.
    Ok(unsafe { &mut *pointer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Debug, PartialEq)]
    struct Record {
        tag: Tag,
        value: u64,
    }

    tagged!(Record);

    fn check(tag: Tag) -> Result<u64, OtherBuild> {
        let record = Record { tag, value: 7 };
        // SAFETY: a record, to be read.
        unsafe { checked(&raw const record) }.map(|record| record.value)
    }

    #[test]
    fn only_data_of_this_build_is_read() {
        let own = Tag::of::<Record>();
        assert_eq!(own, Tag { abi: ABI, size: 16 });
        assert_eq!(check(own), Ok(7));
        for found in [Tag { abi: ABI ^ 1, ..own }, Tag { size: 8, ..own }, Tag { size: 24, ..own }] {
            assert_eq!(check(found), Err(OtherBuild { found: Some(found), own }));
        }
        // SAFETY: there is nothing.
        let nothing = unsafe { checked::<Record>(std::ptr::null()) };
        assert_eq!(nothing, Err(OtherBuild { found: None, own }));
    }

    #[test]
    fn both_builds_are_named() {
        let own = Tag { abi: 0xab, size: 16 };
        let text = OtherBuild { found: Some(Tag { abi: 1, size: 8 }), own }.to_string();
        let expected =
            "is of another build (bridge 00000001, 8 bytes) than the module (bridge 000000ab, 16 bytes)";
        assert_eq!(text, expected);
        assert_eq!(OtherBuild { found: None, own }.to_string(), "gives no table of functions");
    }
}
