//! Records: structures and messages whose layout on the wire is their declaration.
//!
//! [`record!`] and [`messages!`] take an ordinary declaration and make both directions from it, so
//! the two cannot differ in a field or in the order. (serde with a compact format would do so as
//! well; it would bring its data model and procedural macros into programs that run as root, for a
//! dozen types.)

use super::codec::{Malformed, Reader, Writer};

/// A type that can be a field of a record.
pub(super) trait Field: Sized {
    /// Appends the value.
    fn write(&self, writer: &mut Writer<'_>);

    /// Takes a value from the front.
    ///
    /// # Errors
    /// The value is malformed. It takes at least a byte, which bounds lists ([`Reader::list`]).
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// Returns a record as a message.
pub(super) fn encode(record: &impl Field) -> Vec<u8> {
    let mut buffer = Vec::new();
    record.write(&mut Writer::new(&mut buffer));
    buffer
}

/// Returns the record that a message consists of.
///
/// # Errors
/// It is something else, or there is more.
pub(super) fn decode<T: Field>(message: &[u8]) -> Result<T, Malformed> {
    let mut reader = Reader::new(message);
    let record = T::read(&mut reader)?;
    reader.end().map(|()| record)
}

/// Declares a structure that is sent field by field, in the order of the declaration.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $($(#[$doc:meta])* $field_vis:vis $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$doc])* $field_vis $field: $type,)* }

        impl $crate::wire::record::Field for $name {
            fn write(&self, writer: &mut $crate::wire::Writer<'_>) {
                $($crate::wire::record::Field::write(&self.$field, writer);)*
            }

            fn read(reader: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::Malformed> {
                Ok(Self { $($field: $crate::wire::record::Field::read(reader)?,)* })
            }
        }
    };
}

/// Declares an enumeration of messages: a byte that tells which, then the fields.
macro_rules! messages {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[$variant_doc:meta])*
                $number:literal => $variant:ident
                $(($value:ident: $inner:ty))?
                $({ $($(#[$doc:meta])* $field:ident: $type:ty,)* })?,
            )*
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $($(#[$variant_doc])* $variant $(($inner))? $({ $($(#[$doc])* $field: $type,)* })?,)*
        }

        impl $crate::wire::record::Field for $name {
            fn write(&self, writer: &mut $crate::wire::Writer<'_>) {
                match self {
                    $(Self::$variant $(($value))? $({ $($field,)* })? => {
                        writer.u8($number);
                        $(<$inner as $crate::wire::record::Field>::write($value, writer);)?
                        $($($crate::wire::record::Field::write($field, writer);)*)?
                    })*
                }
            }

            fn read(reader: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::Malformed> {
                Ok(match reader.u8()? {
                    $($number => Self::$variant
                        $((<$inner as $crate::wire::record::Field>::read(reader)?))?
                        $({ $($field: $crate::wire::record::Field::read(reader)?,)* })?,)*
                    _ => return Err($crate::wire::Malformed),
                })
            }
        }
    };
}

pub(super) use {messages, record};

macro_rules! numbers {
    ($($type:ident)*) => {
        $(impl Field for $type {
            fn write(&self, writer: &mut Writer<'_>) {
                writer.$type(*self);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                reader.$type()
            }
        })*
    };
}

numbers! { bool u8 u32 u64 f64 }

impl Field for i32 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.i64((*self).into());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.i64()?.try_into().map_err(|_| Malformed)
    }
}

impl Field for Box<[u8]> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.bytes().map(Into::into)
    }
}

impl<T: Field> Field for Box<T> {
    fn write(&self, writer: &mut Writer<'_>) {
        T::write(self, writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        T::read(reader).map(Self::new)
    }
}

impl<T: Field> Field for Option<T> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bool(self.is_some());
        if let Some(value) = self {
            value.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.bool()?.then(|| T::read(reader)).transpose()
    }
}

impl<T: Field> Field for Vec<T> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.list(self.iter(), |writer, item| item.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.list(T::read)
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn write(&self, writer: &mut Writer<'_>) {
        self.0.write(writer);
        self.1.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    record! {
        /// A record with a field of each kind.
        #[derive(Debug, Clone, PartialEq)]
        struct Sample {
            flag: bool,
            byte: u8,
            count: u32,
            size: u64,
            signed: i32,
            interval: f64,
            text: Box<[u8]>,
            absent: Option<Box<[u8]>>,
            pairs: Vec<(Box<[u8]>, u32)>,
            message: Box<Message>,
        }
    }

    messages! {
        /// A message of each form.
        #[derive(Debug, Clone, PartialEq)]
        enum Message {
            1 => Empty,
            2 => Value(value: u32),
            7 => Fields {
                first: u8,
                second: Option<Vec<u32>>,
            },
        }
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            Just(Message::Empty),
            any::<u32>().prop_map(Message::Value),
            (any::<u8>(), any::<Option<Vec<u32>>>())
                .prop_map(|(first, second)| Message::Fields { first, second }),
        ]
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let numbers = (any::<bool>(), any::<u8>(), any::<u32>(), any::<u64>(), any::<i32>(), -1.0..1.0);
        let texts = (any::<Box<[u8]>>(), any::<Option<Box<[u8]>>>(), any::<Vec<(Box<[u8]>, u32)>>());
        (numbers, texts, message()).prop_map(
            |((flag, byte, count, size, signed, interval), (text, absent, pairs), message)| Sample {
                flag,
                byte,
                count,
                size,
                signed,
                interval,
                text,
                absent,
                pairs,
                message: Box::new(message),
            },
        )
    }

    #[test]
    fn fields_are_sent_in_the_order_of_the_declaration() {
        let message = Message::Fields { first: 3, second: Some(vec![4]) };
        assert_eq!(encode(&message), [7, 3, 1, 1, 0, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn only_declared_messages_are_read() {
        for number in 0..=u8::MAX {
            let is_read = decode::<Message>(&[number, 0, 0]).is_ok() || decode::<Message>(&[number]).is_ok();
            assert_eq!(is_read, [1, 7].contains(&number), "{number}");
        }
        assert_eq!(decode::<Message>(&[1, 0]), Err(Malformed), "there is more");
        assert_eq!(decode::<i32>(&i64::MAX.to_le_bytes()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn records_come_back_whole_or_not_at_all(sample in sample(), cut: prop::sample::Index) {
            let message = encode(&sample);
            prop_assert_eq!(decode::<Sample>(&message[..cut.index(message.len())]), Err(Malformed));
            prop_assert_eq!(decode(&message), Ok(sample));
        }

        #[test]
        fn any_bytes_are_one_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // What is read has one form only, so what is written of it is the same.
            if let Ok(sample) = decode::<Sample>(&bytes) {
                prop_assert_eq!(encode(&sample), bytes);
            }
        }
    }
}
