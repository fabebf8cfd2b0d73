//! Words that are part of the API: labels, annotations, field owner.

/// The API group.
pub const GROUP: &str = "kennet.dev";
/// The API version.
pub const VERSION: &str = "v1alpha1";
/// Field owner of every server-side apply.
pub const FIELD_OWNER: &str = "kennet-operator";
/// Label with the cluster's name; part of every selector.
pub const CLUSTER_LABEL: &str = "kennet.dev/cluster";
/// Label with the pool's name; part of every selector.
pub const POOL_LABEL: &str = "kennet.dev/pool";
/// The pool that a cluster's top level describes.
pub const MAIN_POOL: &str = "main";
/// Annotation of a StatefulSet's template: what a running broker depends on, as canonical JSON.
pub const RESTART_INPUTS_ANNOTATION: &str = "kennet.dev/restart-inputs";
/// Annotation of a PVC: the cluster that its data belongs to.
pub const CLUSTER_ID_ANNOTATION: &str = "kennet.dev/cluster-id";
/// Annotation of a PVC: the data directory on it.
pub const DIRECTORY_ID_ANNOTATION: &str = "kennet.dev/directory-id";
/// Annotation of the StatefulSet: the template before the roll that runs, to return to.
pub const PREVIOUS_TEMPLATE_ANNOTATION: &str = "kennet.dev/previous-template";
/// Annotation of the StatefulSet: the restart inputs of a roll that failed and was taken back.
pub const REVERTED_ANNOTATION: &str = "kennet.dev/reverted-inputs";
