//! Which request headers an application sees, and under which keys (Python contract, 3.3).

/// Whether `name` consists of ASCII letters, digits and `-`. A request header with any other name is removed
/// before anything looks at it: `_` and `-` are the same in an environ, and one could pose as the other.
#[must_use]
pub fn is_plain_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}
