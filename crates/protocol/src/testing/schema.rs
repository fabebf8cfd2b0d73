//! The schemas that the derive read from the structs, as data, for the comparison with Kafka's own.
//!
//! The JSON is written by hand: it is flat, and this crate needs no JSON otherwise.

use std::fmt::Write;

use bytes::Bytes;

use super::{Role, Visitor, visit_messages};
use crate::{
    BrokerId, ErrorCode, GenerationId, LeaderEpoch, Message, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    Records, TimestampMs, Uuid,
};

/// A struct.
#[derive(Debug)]
pub struct StructSchema {
    /// Its name.
    pub name: &'static str,
    /// Its fields in order.
    pub fields: &'static [FieldSchema],
}

/// A field of a struct. Versions are inclusive; `i16::MAX` is "and later".
#[derive(Debug)]
pub struct FieldSchema {
    /// Its name.
    pub name: &'static str,
    /// Kafka's name of the type, or of an array's element.
    pub type_name: &'static str,
    /// The struct that the type, or an array's element, is.
    pub element: Option<&'static StructSchema>,
    /// Whether it is an array.
    pub is_array: bool,
    /// The versions that have it.
    pub versions: (i16, i16),
    /// The versions in which it may be null.
    pub nullable: Option<(i16, i16)>,
    /// The tag, and the versions in which it is tagged.
    pub tag: Option<(u32, (i16, i16))>,
    /// The default, as `Debug` shows it.
    pub default: fn() -> String,
    /// Whether a version that lacks it is refused.
    pub strict: bool,
}

/// A type that schemas can name.
pub trait Described {
    /// The struct's fields, when it is one.
    const STRUCT: Option<&'static StructSchema> = None;
    /// Kafka's name.
    const TYPE: &'static str;
    /// Whether it is an array.
    const IS_ARRAY: bool = false;
}

macro_rules! described {
    ($($type:ty = $name:literal),* $(,)?) => {
        $(impl Described for $type {
            const TYPE: &'static str = $name;
        })*
    };
}

described! {
    bool = "bool", i8 = "int8", i16 = "int16", u16 = "uint16", i32 = "int32", u32 = "uint32", i64 = "int64",
    f64 = "float64", String = "string", Bytes = "bytes", Records = "records", Uuid = "uuid", ErrorCode = "int16",
    BrokerId = "int32", PartitionIndex = "int32", Offset = "int64", LeaderEpoch = "int32", ProducerId = "int64",
    ProducerEpoch = "int16", TimestampMs = "int64", GenerationId = "int32",
}

impl<T: Described> Described for Vec<T> {
    const STRUCT: Option<&'static StructSchema> = T::STRUCT;
    const TYPE: &'static str = T::TYPE;
    const IS_ARRAY: bool = true;
}

/// All messages of this crate as a JSON array, one message a line.
#[must_use]
pub fn schemas_as_json() -> String {
    let mut lines = Lines::default();
    visit_messages(&mut lines);
    format!("[\n{}\n]", lines.0.join(",\n"))
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Visitor for Lines {
    fn visit<M: Message + Described>(&mut self, role: Role) {
        let (kind, key) = match role {
            Role::Request(key) => ("request", key.code()),
            Role::Response(key) => ("response", key.code()),
            Role::Data => ("data", -1),
        };
        let versions = M::VERSIONS;
        let flexible_from = versions.flexible_from.map_or("null".to_owned(), |first| first.to_string());
        let fields = M::STRUCT.map(fields_as_json).unwrap_or_default();
        self.0.push(format!(
            r#"{{"name":"{}","kind":"{kind}","key":{key},"versions":[{},{}],"flexible_from":{flexible_from},"fields":[{fields}]}}"#,
            M::NAME, versions.min, versions.max,
        ));
    }
}

fn fields_as_json(schema: &StructSchema) -> String {
    let fields = schema.fields.iter().map(|field| {
        let mut json = String::new();
        let (first, last) = field.versions;
        let array = if field.is_array { "[]" } else { "" };
        // writing to a String does not fail
        let _ = write!(
            json,
            r#"{{"name":"{}","type":"{array}{}","versions":[{first},{last}]"#,
            field.name, field.type_name
        );
        if let Some((first, last)) = field.nullable {
            let _ = write!(json, r#","nullable":[{first},{last}]"#);
        }
        if let Some((tag, (first, last))) = field.tag {
            let _ = write!(json, r#","tag":{tag},"tagged":[{first},{last}]"#);
        }
        let default = (field.default)().replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(json, r#","default":"{default}","strict":{}"#, field.strict);
        if let Some(element) = field.element {
            let _ = write!(json, r#","fields":[{}]"#, fields_as_json(element));
        }
        json.push('}');
        json
    });
    fields.collect::<Vec<_>>().join(",")
}
