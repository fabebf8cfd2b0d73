//! Where a broker's clients reach it: what its pod has open, and the ports of Services that lead there. Pure.
//!
//! A changed listener waits for a restart, which may be paused, held or taken back, and the pod goes on with the one that it was started with. So the pod says
//! what is open, the Services have the spec's ports and the pod's, and both lead to the pod until it is another.

use k8s_openapi::api::core::v1::Pod;
use kennet_contract::ports;
use kennet_model::cluster::ValidListener;
use serde_json::{Value, json};

/// A port for clients that a pod has open.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    name: String,
    port: u16,
}

/// Ports for clients, in the order of the listeners: each that a pod names and that is not one of Kennet's own.
fn open(pod: &Pod) -> Vec<Open> {
    let containers = pod.spec.as_ref().map(|spec| &spec.containers);
    let ports = containers.and_then(|all| all.first()?.ports.as_ref()).into_iter().flatten();
    let open = ports.filter_map(|one| {
        let port = u16::try_from(one.container_port).ok()?;
        Some(Open { name: one.name.clone().unwrap_or_default(), port })
    });
    open.filter(|one| ![ports::MANAGEMENT, ports::PROBES, ports::METRICS].contains(&one.port)).collect()
}

/// The port by which the operator itself is a client of this pod's broker.
pub(crate) fn clients_port(pod: &Pod) -> Option<u16> {
    open(pod).first().map(|one| one.port)
}

/// Ports of a Service that leads to the pod.
pub(super) fn service_ports(listeners: &[ValidListener], pod: Option<&Pod>) -> Vec<Value> {
    let open = pod.map(open).unwrap_or_default();
    let mut all: Vec<Value> = listeners.iter().map(|one| port(&one.name, one.port, &target(one, &open))).collect();
    let is_listed = |port: u16| listeners.iter().any(|one| one.port == port);
    // its name may be that of a listener with another port by now
    let older = open.iter().filter(|one| !is_listed(one.port));
    all.extend(older.map(|one| port(&format!("{}-{}", one.name, one.port), one.port, &json!(one.port))));
    all
}

fn port(name: &str, port: u16, target: &Value) -> Value {
    json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"})
}

/// The port itself, or the name where a pod has the listener open under an older number: a name is looked up in each pod, so the new one is
/// found in the moment in which it is ready.
fn target(listener: &ValidListener, open: &[Open]) -> Value {
    let has_port = open.iter().any(|one| one.port == listener.port);
    let has_name = open.iter().any(|one| one.name == listener.name);
    if has_name && !has_port { json!(listener.name) } else { json!(listener.port) }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kennet_model::cluster::ValidListener;
    use serde_json::{Value, json};

    use super::{clients_port, service_ports};

    fn pod(open: &[(&str, u16)]) -> Pod {
        let own = [("management", 9191), ("probes", 9192), ("metrics", 9193)];
        let ports: Vec<Value> =
            open.iter().chain(&own).map(|(name, port)| json!({"name": name, "containerPort": port})).collect();
        serde_json::from_value(json!({"spec": {"containers": [{"name": "broker", "ports": ports}]}})).unwrap()
    }

    /// Name, port and target of each.
    fn ports(listeners: &[(&str, u16)], pod: Option<&Pod>) -> Vec<(String, u64, Value)> {
        let listeners: Vec<_> =
            listeners.iter().map(|(name, port)| ValidListener { name: (*name).to_owned(), port: *port }).collect();
        let text = |one: &Value| one["name"].as_str().unwrap().to_owned();
        let rows = service_ports(&listeners, pod);
        rows.iter().map(|one| (text(one), one["port"].as_u64().unwrap(), one["targetPort"].clone())).collect()
    }

    #[test]
    fn a_service_leads_to_the_listeners() {
        let expected = vec![("plain".to_owned(), 9092, json!(9092))];
        assert_eq!(ports(&[("plain", 9092)], None), expected);
        assert_eq!(ports(&[("plain", 9092)], Some(&pod(&[("plain", 9092)]))), expected);
    }

    #[test]
    fn a_listener_whose_port_changed_is_reached_by_both_until_the_pod_is_another() {
        let before = pod(&[("plain", 9092)]);
        let expected = vec![("plain".to_owned(), 9095, json!("plain")), ("plain-9092".to_owned(), 9092, json!(9092))];
        assert_eq!(ports(&[("plain", 9095)], Some(&before)), expected);
        assert_eq!(clients_port(&before), Some(9092));
        let after = pod(&[("plain", 9095)]);
        assert_eq!(ports(&[("plain", 9095)], Some(&after)), [("plain".to_owned(), 9095, json!(9095))]);
        assert_eq!(clients_port(&after), Some(9095));
    }

    #[test]
    fn a_listener_that_was_renamed_keeps_its_port_and_one_that_went_is_reached_until_the_pod_is_another() {
        let before = pod(&[("plain", 9092), ("other", 9094)]);
        let expected = vec![("clients".to_owned(), 9092, json!(9092)), ("other-9094".to_owned(), 9094, json!(9094))];
        assert_eq!(ports(&[("clients", 9092)], Some(&before)), expected);
        // two that swapped their ports
        let swapped = vec![("plain".to_owned(), 9094, json!(9094)), ("other".to_owned(), 9092, json!(9092))];
        assert_eq!(ports(&[("plain", 9094), ("other", 9092)], Some(&before)), swapped);
    }

    #[test]
    fn kennets_own_ports_are_no_clients() {
        assert_eq!(clients_port(&pod(&[])), None);
    }
}
