//! How each type of Kafka's schemas is laid out in a given version.
//!
//! A struct's derive calls these for its fields in order. Classic and compact forms differ only in lengths, so the
//! types here ask the form for nothing else.

use bytes::Bytes;

use crate::{
    BrokerId, DecodeError, DecodeProblem, Decoder, EncodeError, Encoder, ErrorCode, GenerationId, LeaderEpoch, Offset,
    PartitionIndex, ProducerEpoch, ProducerId, Records, TimestampMs, Uuid,
};

/// The layout of one message: its version, and whether that is a flexible one (KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The API's version.
    pub version: i16,
    /// Whether lengths are compact and structs end with tagged fields.
    pub flexible: bool,
}

/// A value inside a message.
pub trait Field: Sized {
    /// The fewest bytes that a value takes; counts are checked against it.
    fn size_min(form: Form) -> usize;
    /// Writes the value.
    fn write(&self, out: &mut Encoder, form: Form) -> Result<(), EncodeError>;
    /// Reads a value.
    fn read(input: &mut Decoder, form: Form) -> Result<Self, DecodeError>;
}

/// A value that may be null. The default is a struct's: one byte, -1 for null or 1, then the struct.
pub trait NullableField: Field {
    /// Writes the value or null.
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        let Some(value) = value else {
            out.i8(-1);
            return Ok(());
        };
        out.i8(1);
        value.write(out, form)
    }

    /// Reads a value or null.
    fn read_nullable(input: &mut Decoder, form: Form) -> Result<Option<Self>, DecodeError> {
        match input.i8()? {
            -1 => Ok(None),
            1 => Self::read(input, form).map(Some),
            marker => Err(input.error(DecodeProblem::StructMarker { marker })),
        }
    }
}

macro_rules! primitive {
    ($($type:ident $size:literal),*) => {$(
        impl Field for $type {
            #[inline]
            fn size_min(_: Form) -> usize {
                $size
            }

            #[inline]
            fn write(&self, out: &mut Encoder, _: Form) -> Result<(), EncodeError> {
                out.$type(*self);
                Ok(())
            }

            #[inline]
            fn read(input: &mut Decoder, _: Form) -> Result<Self, DecodeError> {
                input.$type()
            }
        }
    )*};
}

primitive!(i8 1, i16 2, u16 2, i32 4, u32 4, i64 8, f64 8);

macro_rules! newtype {
    ($($type:ident($inner:ident)),*) => {$(
        impl Field for $type {
            #[inline]
            fn size_min(form: Form) -> usize {
                $inner::size_min(form)
            }

            #[inline]
            fn write(&self, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
                $inner::from(*self).write(out, form)
            }

            #[inline]
            fn read(input: &mut Decoder, form: Form) -> Result<Self, DecodeError> {
                $inner::read(input, form).map(Self::from)
            }
        }
    )*};
    (inner of $($type:ident($inner:ident)),*) => {$(
        impl From<$type> for $inner {
            fn from(value: $type) -> Self {
                value.0
            }
        }
    )*};
}

newtype!(BrokerId(i32), PartitionIndex(i32), Offset(i64), LeaderEpoch(i32), ProducerId(i64), ProducerEpoch(i16));
newtype!(TimestampMs(i64), GenerationId(i32), ErrorCode(i16));
newtype!(inner of BrokerId(i32), PartitionIndex(i32), Offset(i64), LeaderEpoch(i32), ProducerId(i64), ProducerEpoch(i16));
newtype!(inner of TimestampMs(i64), GenerationId(i32));

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}

impl Field for bool {
    #[inline]
    fn size_min(_: Form) -> usize {
        1
    }

    #[inline]
    fn write(&self, out: &mut Encoder, _: Form) -> Result<(), EncodeError> {
        out.i8(i8::from(*self));
        Ok(())
    }

    #[inline]
    fn read(input: &mut Decoder, _: Form) -> Result<Self, DecodeError> {
        input.i8().map(|byte| byte != 0)
    }
}

impl Field for Uuid {
    fn size_min(_: Form) -> usize {
        16
    }

    fn write(&self, out: &mut Encoder, _: Form) -> Result<(), EncodeError> {
        out.copy(self.as_bytes());
        Ok(())
    }

    fn read(input: &mut Decoder, _: Form) -> Result<Self, DecodeError> {
        input.uuid()
    }
}

fn not_null<T: NullableField>(input: &mut Decoder, form: Form) -> Result<T, DecodeError> {
    let null = input.error(DecodeProblem::Null { version: form.version });
    T::read_nullable(input, form)?.ok_or(null)
}

impl Field for String {
    fn size_min(form: Form) -> usize {
        if form.flexible { 1 } else { 2 }
    }

    fn write(&self, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, form)
    }

    fn read(input: &mut Decoder, form: Form) -> Result<Self, DecodeError> {
        not_null(input, form)
    }
}

impl NullableField for String {
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        out.string_length(value.map(String::len), form)?;
        out.copy(value.map(String::as_bytes).unwrap_or_default());
        Ok(())
    }

    fn read_nullable(input: &mut Decoder, form: Form) -> Result<Option<Self>, DecodeError> {
        input.string_length(form)?.map(|length| input.utf8(length)).transpose()
    }
}

fn length_size(form: Form) -> usize {
    if form.flexible { 1 } else { 4 }
}

impl Field for Bytes {
    fn size_min(form: Form) -> usize {
        length_size(form)
    }

    fn write(&self, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, form)
    }

    fn read(input: &mut Decoder, form: Form) -> Result<Self, DecodeError> {
        not_null(input, form)
    }
}

impl NullableField for Bytes {
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        out.length(value.map(Bytes::len), form)?;
        if let Some(value) = value {
            out.append(value);
        }
        Ok(())
    }

    fn read_nullable(input: &mut Decoder, form: Form) -> Result<Option<Self>, DecodeError> {
        input.length(form)?.map(|length| input.take("bytes", length)).transpose()
    }
}

impl Field for Records {
    fn size_min(form: Form) -> usize {
        length_size(form)
    }

    fn write(&self, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, form)
    }

    fn read(input: &mut Decoder, form: Form) -> Result<Self, DecodeError> {
        not_null(input, form)
    }
}

impl NullableField for Records {
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        out.length(value.map(Records::len), form)?;
        for chunk in value.map(Records::chunks).unwrap_or_default() {
            out.append(chunk);
        }
        Ok(())
    }

    fn read_nullable(input: &mut Decoder, form: Form) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::read_nullable(input, form)?.map(Self::from))
    }
}

impl<T: Field> Field for Vec<T> {
    fn size_min(form: Form) -> usize {
        length_size(form)
    }

    fn write(&self, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), out, form)
    }

    fn read(input: &mut Decoder, form: Form) -> Result<Self, DecodeError> {
        not_null(input, form)
    }
}

impl<T: Field> NullableField for Vec<T> {
    fn write_nullable(value: Option<&Self>, out: &mut Encoder, form: Form) -> Result<(), EncodeError> {
        out.length(value.map(Vec::len), form)?;
        value.into_iter().flatten().try_for_each(|element| element.write(out, form))
    }

    fn read_nullable(input: &mut Decoder, form: Form) -> Result<Option<Self>, DecodeError> {
        input.length(form)?.map(|count| input.elements(count, form)).transpose()
    }
}
