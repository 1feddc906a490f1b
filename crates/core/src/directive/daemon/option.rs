//! An option of `WSGIDaemonProcess`: which values it takes, and what it does with them.

use super::values::absolute;
use crate::daemon::DaemonGroup;
use crate::directive::System;
use crate::directive::arguments::flag_value;
use crate::quantity::{Count, CountOrRange, Duration, Integer, Interval, Size};

/// An option.
pub(in crate::directive) struct DaemonOption {
    /// Its key.
    pub(in crate::directive) name: &'static str,
    /// The placeholder of its value in the reference.
    pub(super) value: &'static str,
    /// Its default in the reference.
    pub(super) default: &'static str,
    /// One sentence or more, Markdown.
    pub(super) doc: &'static str,
    pub(super) kind: ValueKind,
}

/// The kind of an option's value, and where it goes. Those that are numbers say what 0 means, for
/// the reference; empty where it is refused.
pub(super) enum ValueKind {
    /// A number of things.
    Count(Count, &'static str, fn(&mut DaemonGroup, u64)),
    /// A number of things, or a range: the least, and the most.
    CountOrRange(CountOrRange, fn(&mut DaemonGroup, Option<u64>, u64)),
    /// A time, kept in its steps.
    Time(Duration, &'static str, fn(&mut DaemonGroup) -> &mut u64),
    /// A number of bytes.
    Size(Size, &'static str, fn(&mut DaemonGroup) -> &mut u64),
    /// A buffer of at least so many bytes; 0 is the default, which comes last.
    Buffer(u64, fn(&mut DaemonGroup) -> &mut u64, u64),
    /// A whole number, possibly negative.
    Integer(&'static str, fn(&mut DaemonGroup) -> &mut i32),
    /// A short time.
    Interval(fn(&mut DaemonGroup) -> &mut Option<f64>),
    /// `On` or `Off`.
    Flag(fn(&mut DaemonGroup) -> &mut bool),
    /// An absolute path.
    Path(fn(&mut DaemonGroup) -> &mut Option<Box<[u8]>>),
    /// Anything that is not a number.
    Text(fn(&mut DaemonGroup) -> &mut Option<Box<[u8]>>),
    /// A value of its own that is not a number.
    Other(fn(&mut DaemonGroup, &dyn System, &[u8]) -> Result<(), String>),
}

impl DaemonOption {
    /// Returns whether its value is a number.
    #[cfg(test)]
    pub(in crate::directive) fn is_number(&self) -> bool {
        !matches!(
            self.kind,
            ValueKind::Flag(_) | ValueKind::Path(_) | ValueKind::Text(_) | ValueKind::Other(_)
        )
    }

    /// Returns what its value stands for, as the manual says.
    #[cfg(test)]
    pub(in crate::directive) fn value(&self) -> &'static str {
        self.value
    }

    /// Returns what holds without it, as the manual says.
    #[cfg(test)]
    pub(in crate::directive) fn default(&self) -> &'static str {
        self.default
    }

    /// Sets the option. An error says what is wrong with the value, not which option it belongs to.
    pub(super) fn apply(
        &self,
        group: &mut DaemonGroup,
        system: &dyn System,
        value: &[u8],
    ) -> Result<(), String> {
        match self.kind {
            ValueKind::Count(count, _, set) => set(group, count.read(value)?),
            ValueKind::CountOrRange(count, set) => {
                let (least, most) = count.read(value)?;
                set(group, least, most);
            }
            ValueKind::Time(time, _, field) => *field(group) = time.read(value)?,
            ValueKind::Size(size, _, field) => *field(group) = size.read(value)?,
            ValueKind::Buffer(least, field, default) => {
                *field(group) = match Size::zero_or(least).read(value)? {
                    0 => default,
                    size => size,
                };
            }
            ValueKind::Integer(_, field) => *field(group) = Integer.read(value)?,
            ValueKind::Interval(field) => *field(group) = Some(Interval.read(value)?),
            ValueKind::Flag(field) => {
                *field(group) = flag_value(value).ok_or("it must be one of: Off | On")?;
            }
            ValueKind::Path(field) => *field(group) = Some(absolute(value)?),
            ValueKind::Text(field) => *field(group) = Some(value.into()),
            ValueKind::Other(effect) => effect(group, system, value)?,
        }
        Ok(())
    }
}

impl ValueKind {
    /// Returns the range that is accepted, to be written behind the placeholder.
    pub(super) fn range(&self) -> String {
        match self {
            Self::Count(Count { least, most }, ..) if *most <= u64::from(u16::MAX) => {
                format!(", {least} to {most}")
            }
            Self::CountOrRange(CountOrRange { most }, _) => format!(", 1 to {most}"),
            Self::Size(Size { least, .. }, ..) | Self::Buffer(least, ..) => {
                if least % (1 << 20) == 0 {
                    format!(", {}M or more", least >> 20)
                } else if least % (1 << 10) == 0 {
                    format!(", {}K or more", least >> 10)
                } else {
                    format!(", {least} or more")
                }
            }
            _ => String::new(),
        }
    }

    /// Returns what 0 means, or an empty text where that is refused.
    pub(super) fn zero(&self) -> &'static str {
        match self {
            Self::Count(_, zero, _)
            | Self::Time(_, zero, _)
            | Self::Size(_, zero, _)
            | Self::Integer(zero, _) => zero,
            Self::Buffer(..) => "the default",
            Self::CountOrRange(..)
            | Self::Interval(_)
            | Self::Flag(_)
            | Self::Path(_)
            | Self::Text(_)
            | Self::Other(_) => "",
        }
    }
}
