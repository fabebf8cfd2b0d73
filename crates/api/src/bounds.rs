//! Schemas of bounded maps and strings, which derives cannot express.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Kafka configs: at most 200 keys, values at most 4096 characters.
pub(crate) fn config(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 200,
        "additionalProperties": {"type": "string", "maxLength": 4096}
    })
}

/// Labels and node selectors: at most 64, values as Kubernetes takes them.
pub(crate) fn label_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
            "type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$"
        }
    })
}

/// Annotations: at most 64, values at most 1024 characters.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 1024}
    })
}

/// An RFC 3339 instant as Kubernetes checks it.
pub(crate) fn instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 40})
}
