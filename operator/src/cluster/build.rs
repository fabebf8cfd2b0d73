//! What should be: every object of a cluster as JSON, rendered from a validated spec. Infallible but for a config that is no TOML.

mod objects;
mod template;

use kennet_contract::config_hash;
use kennet_model::cluster::{Placement, ValidatedCluster, render};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::cluster::fetch::Observed;
use crate::error::ReconcileError;

pub(super) use template::INPUTS_VERSION;

/// What should be.
pub(crate) struct Desired {
    pub(crate) available_version: Option<String>,
    pub(crate) services: Vec<Value>,
    /// None when somebody else keeps one.
    pub(crate) budget: Option<Value>,
    /// Volume claims by broker id.
    pub(crate) claims: Vec<(i32, Value)>,
    /// What depends on the cluster's id; none before it has one.
    pub(crate) pool: Option<Pool>,
    /// Owners of volumes and of the Secrets of their data, which otherwise outlive the object.
    pub(crate) volume_owners: Value,
    /// Owners of what can be made again without loss.
    pub(crate) owners: Value,
    pub(crate) labels: Value,
}

/// What the brokers of a pool run.
pub(crate) struct Pool {
    pub(crate) config_map: Value,
    /// The StatefulSet with the new template.
    pub(crate) stateful_set: Value,
    /// What a running broker depends on, as canonical JSON.
    pub(crate) restart_inputs: String,
}

/// Renders everything.
pub(crate) fn build(
    valid: &ValidatedCluster,
    observed: &Observed,
    arguments: &Arguments,
) -> Result<Desired, ReconcileError> {
    let owner = json!({
        "apiVersion": "kennet.dev/v1alpha1", "kind": "KafkaCluster", "name": valid.name.as_str(), "uid": observed.uid,
        "controller": true, "blockOwnerDeletion": false,
    });
    let parts = objects::Parts { cluster: valid, owner };
    let (image, version) = image(valid, observed, arguments);
    let offered = arguments.broker_version.clone();
    let available_version = (valid.version.is_none() && version != offered).then_some(offered);
    let pool = match &observed.authority {
        Some((cluster_id, _)) => {
            let config = toml::to_string(&render(valid, *cluster_id, &Placement::pod(valid)))?;
            let hash = config_hash(&config);
            let inputs = template::restart_inputs(valid, &image, &hash);
            let stateful_set = template::stateful_set(&parts, observed, arguments, &image, &hash, &inputs);
            Some(Pool { config_map: parts.config_map(&hash, &config), stateful_set, restart_inputs: inputs })
        }
        None => None,
    };
    Ok(Desired {
        available_version,
        services: parts.services(observed),
        budget: parts.budget(observed),
        claims: (0..valid.brokers).map(|id| (id, parts.claim(id, observed))).collect(),
        pool,
        volume_owners: parts.volume_owners(),
        owners: json!([parts.owner]),
        labels: parts.labels(),
    })
}

/// Image with tag, and the tag: the spec's, else the one that runs, else the operator's.
fn image(valid: &ValidatedCluster, observed: &Observed, arguments: &Arguments) -> (String, String) {
    let running = observed.stateful_set.as_ref().and_then(|set| {
        let containers = &set.spec.as_ref()?.template.spec.as_ref()?.containers;
        let (name, tag) = containers.first()?.image.as_ref()?.rsplit_once(':')?;
        Some((name.to_owned(), tag.to_owned()))
    });
    let (running_name, running_version) = running.unzip();
    let name = valid.image.clone().or(running_name).unwrap_or_else(|| arguments.broker_image.clone());
    let version = valid.version.clone().or(running_version).unwrap_or_else(|| arguments.broker_version.clone());
    (format!("{name}:{version}"), version)
}

#[cfg(test)]
mod tests {
    use kennet_contract::config_hash;
    use kennet_model::cluster::validate;
    use serde_json::json;

    use crate::cluster::fixture;

    /// What Kubernetes acts on, field by field.
    #[test]
    fn every_field_of_a_spec_for_pods_and_volumes_reaches_its_object() {
        let spec = "
            brokers: 1
            version: 1.2.3
            image: registry.example/broker
            storage: {size: 5Gi, storageClassName: fast, whenDeleted: Delete}
            resources: {requests: {cpu: 250m, memory: 128Mi}, limits: {cpu: '1', memory: 256Mi}}
            pods:
              labels: {team: a}
              annotations: {note: b}
              nodeSelector: {disk: nvme}
              tolerations: [{key: k, operator: Exists}]
              priorityClassName: high
              imagePullSecrets: [{name: pull}]
              terminationGracePeriod: 90s";
        let cluster = validate("orders", "ns", &serde_saphyr::from_str(spec).unwrap()).unwrap();
        let desired = fixture::desired(&cluster, &fixture::observed());
        let (_, claim) = &desired.claims[0];
        assert_eq!(claim["spec"]["storageClassName"], "fast");
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "5Gi");
        assert_eq!(claim["metadata"]["ownerReferences"][0]["name"], "orders");
        let set = desired.pool.unwrap().stateful_set;
        assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"], "fast");
        let pod = &set["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["team"], "a");
        assert_eq!(pod["metadata"]["annotations"]["note"], "b");
        assert_eq!(pod["spec"]["nodeSelector"], json!({"disk": "nvme"}));
        assert_eq!(pod["spec"]["tolerations"][0]["key"], "k");
        assert_eq!(pod["spec"]["priorityClassName"], "high");
        assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 90);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["image"], "registry.example/broker:1.2.3");
        let resources =
            json!({"requests": {"cpu": "250m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}});
        assert_eq!(container["resources"], resources);
    }

    /// What a broker reports in `/status` is the end of the name of the ConfigMap that it has loaded.
    #[test]
    fn a_config_map_is_named_as_the_broker_names_its_content() {
        let map = fixture::desired(&fixture::cluster(""), &fixture::observed()).pool.unwrap().config_map;
        let content = map["data"].as_object().unwrap().values().next().unwrap().as_str().unwrap();
        assert_eq!(map["metadata"]["name"], format!("orders-main-config-{}", config_hash(content)));
    }
}
