//! DescribeConfigs: every key that there is, with its value, where it comes from, and what it would be otherwise.

use std::sync::Arc;

use kennet_contract::config_keys::{self, ConfigKey, Effect, Kind, Source, Value};
use kennet_metadata::ResourceType;
use kennet_protocol::ErrorCode;
use kennet_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::broker::{Broker, Session};
use crate::handler::once;

/// Kafka's number of a broker's loggers; there are none that can be set this way.
const BROKER_LOGGER: i8 = 8;

pub(super) fn handle(
    broker: &Arc<Broker>,
    _: &Session,
    mut request: DescribeConfigsRequest,
    _: i16,
) -> DescribeConfigsResponse {
    once(&mut request.resources, |resource| (resource.resource_type, resource.resource_name.clone()));
    let bytes_max = broker.lists.bytes();
    let mut bytes = 0;
    let describe = |resource: &DescribeConfigsResource| {
        let described = if bytes > bytes_max {
            let message =
                format!("the answer has {bytes_max} bytes already: ask for fewer resources, or name the keys");
            Err((ErrorCode::InvalidRequest, message))
        } else {
            describe(broker, &request, resource)
        };
        bytes += described.as_ref().map_or(0, |configs| configs.iter().map(row_bytes).sum());
        let (error, message, configs) = match described {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err((code, message)) => (code, Some(message), Vec::new()),
        };
        DescribeConfigsResult {
            error_code: error,
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
        }
    };
    DescribeConfigsResponse { throttle_time_ms: 0, results: request.resources.iter().map(describe).collect() }
}

/// What a row takes of the memory, roughly.
fn row_bytes(row: &DescribeConfigsResourceResult) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let synonym = |synonym: &DescribeConfigsSynonym| {
        size_of::<DescribeConfigsSynonym>() + synonym.name.len() + text(&synonym.value)
    };
    let own = row.name.len() + text(&row.value) + text(&row.documentation);
    size_of::<DescribeConfigsResourceResult>() + own + row.synonyms.iter().map(synonym).sum::<usize>()
}

fn describe(
    broker: &Broker,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    let image = broker.controller.image();
    let name = resource.resource_name.as_str();
    // an empty list asks for all, as in Kafka
    let names = resource.configuration_keys.as_ref().filter(|names| !names.is_empty());
    let wanted = |key: &&'static ConfigKey| names.is_none_or(|names| names.iter().any(|name| name == key.name));
    match ResourceType::from_number(resource.resource_type) {
        Some(ResourceType::Topic) => {
            let topic = image
                .topic(name)
                .ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("there is no topic '{name}'")))?;
            let configs = broker.configs(&image, Some(topic));
            let row = |key: &'static ConfigKey| {
                let text = configs.topic_text(key.name);
                row(request, key, text, &configs.topic_values(key))
            };
            Ok(config_keys::TOPIC_KEYS.iter().filter(wanted).map(row).collect())
        }
        Some(ResourceType::Broker) if name.is_empty() || name == broker.id().to_string() => {
            let configs = broker.configs(&image, None);
            let rows = config_keys::BROKER_KEYS.iter().filter(wanted).filter_map(|key| {
                let mut values = shown(broker, key).map_or_else(|| configs.broker_values(key), |value| vec![value]);
                if name.is_empty() {
                    // the default of all brokers: only what was set for all
                    values.retain(|value| value.source == Source::DynamicCluster);
                }
                let text = values.first()?.text.clone();
                Some(row(request, key, text, &values))
            });
            Ok(rows.collect())
        }
        Some(ResourceType::Broker) => {
            Err((ErrorCode::InvalidRequest, format!("this is broker {}, not '{name}'", broker.id())))
        }
        None if resource.resource_type == BROKER_LOGGER => Ok(Vec::new()),
        None => {
            Err((ErrorCode::InvalidRequest, format!("resource type {} has no configs here", resource.resource_type)))
        }
    }
}

/// The value of a key that the config file gives under a name of its own: tools look for Kafka's.
fn shown(broker: &Broker, key: &'static ConfigKey) -> Option<Value> {
    let config = &broker.config;
    let text = match key.name {
        "broker.id" | "node.id" => broker.id().to_string(),
        "log.dirs" => config.data_directory.display().to_string(),
        "listeners" => addresses(config.listeners.iter().map(|at| (&at.name, &at.bind, at.port))),
        "advertised.listeners" => {
            addresses(config.listeners.iter().map(|at| (&at.name, &at.advertised_host, at.advertised_port)))
        }
        _ => return None,
    };
    Some(Value { name: key.name, text, source: Source::File })
}

/// Addresses as Kafka writes them: `PLAIN://[::]:9092`.
fn addresses<'a>(listeners: impl Iterator<Item = (&'a String, &'a String, u16)>) -> String {
    let address = |(name, host, port): (&String, &String, u16)| {
        let is_bare_v6 = host.contains(':') && !host.starts_with('[');
        let host = if is_bare_v6 { format!("[{host}]") } else { host.clone() };
        format!("{}://{host}:{port}", name.to_uppercase())
    };
    listeners.map(address).collect::<Vec<_>>().join(",")
}

fn row(
    request: &DescribeConfigsRequest,
    key: &'static ConfigKey,
    text: String,
    values: &[Value],
) -> DescribeConfigsResourceResult {
    let synonym = |value: &Value| DescribeConfigsSynonym {
        name: value.name.to_owned(),
        value: Some(value.text.clone()),
        source: source_number(value.source),
    };
    DescribeConfigsResourceResult {
        name: key.name.to_owned(),
        value: Some(text),
        read_only: matches!(key.effect, Effect::Fixed(_) | Effect::AtStart),
        config_source: source_number(values.first().map_or(Source::Default, |value| value.source)),
        is_sensitive: false,
        synonyms: if request.include_synonyms { values.iter().map(synonym).collect() } else { Vec::new() },
        config_type: type_number(key.kind),
        documentation: request.include_documentation.then(|| key.doc.to_owned()),
    }
}

/// Kafka's `ConfigSource` numbers.
pub(super) fn source_number(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::DynamicBroker => 2,
        Source::DynamicCluster => 3,
        Source::File => 4,
        Source::Default => 5,
    }
}

/// Kafka's `ConfigType` numbers.
fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Word(_) | Kind::Text => 2,
        Kind::Int(..) => 3,
        Kind::Long(..) | Kind::OptionalLong(..) => 5,
        Kind::Double(..) => 6,
        Kind::List(_) => 7,
    }
}
