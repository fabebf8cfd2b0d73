# Sourced by the run of this folder: our CLI on the node, objects in short, what is refused and how objects are judged.
# shellcheck shell=bash

# inside COMMAND...: in the node's network and with its names, as a process of the host
inside() {
    printf 'nameserver 10.96.0.10\nsearch svc.cluster.local cluster.local\noptions ndots:5\n' > "$RUN/names.conf"
    # shellcheck disable=SC2016
    "$KUBERNETES/in" unshare --mount bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$RUN/names.conf" "$@"
}

# kafka ARGUMENTS...: our CLI against the cluster c
kafka() { inside "$programs/kennet" --bootstrap c-bootstrap.default.svc:9092 "$@"; }

definitions() {
    k apply --server-side --force-conflicts -f "$root/crds" &&
        k wait --for condition=established --timeout=30s crd/kafkaclusters.kennet.dev crd/topics.kennet.dev crd/offsetresets.kennet.dev
}

# cluster NAME [SPEC], topic NAME [SPEC], offset_reset NAME SPEC: manifests; the spec is in YAML's braces and without them
cluster() { echo "{apiVersion: kennet.dev/v1alpha1, kind: KafkaCluster, metadata: {name: $1}, spec: {${2:-brokers: 1, storage: {size: 1Gi\}}}}"; }
topic() { echo "{apiVersion: kennet.dev/v1alpha1, kind: Topic, metadata: {name: $1}, spec: {clusterRef: {name: c}${2:+, $2}}}"; }
offset_reset() { echo "{apiVersion: kennet.dev/v1alpha1, kind: OffsetReset, metadata: {name: $1}, spec: {clusterRef: {name: c}, groupId: readers, $2}}"; }

# apply MANIFEST [ARGUMENTS...]
apply() { k apply -f - "${@:2}" <<< "$1"; }

# spec OBJECT PATCH: a merge patch of its spec, in JSON
spec() { k patch "$1" --type merge -p "{\"spec\":$2}"; }

# refused MESSAGE COMMAND...: the API server refuses it and says so
refused() {
    local message=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "it was taken: $output"
        return 1
    fi
    grep -qF -- "$message" <<< "$output" || { echo "$output"; return 1; }
}

# stalled OBJECT REASON TEXT: it is Stalled for this reason, its message has the text, and kstatus calls that failed
stalled() {
    reason "$1" "$2" 30 || return 1
    local message
    message=$(k get "$1" -o 'jsonpath={.status.conditions[?(@.type=="Stalled")].message}')
    grep -qF -- "$3" <<< "$message" || { echo "the message is '$message'"; return 1; }
    judged "$1" Failed
}

# judged OBJECT WORD: what the library that kubectl-like tools share says, once what was asked for a moment ago is done
judged() { eventually 15 judgement "$@"; }

judgement() {
    local found
    found=$(k get "$1" -o json | kstatus) || return 1
    [ "${found%% *}" = "$2" ] || { echo "kstatus says '$found', expected $2"; return 1; }
}

# topic_has NAME TEXT: its description has the text, without spaces
topic_has() {
    local found
    found=$(kafka --output json topics describe "$1" | tr -d ' \n') || return 1
    grep -qF -- "$2" <<< "$found" || { echo "$found"; return 1; }
}

topic_there() { kafka topics list | grep -qw -- "$1"; }
topic_gone() { ! topic_there "$1"; }
object_gone() { ! k get "$1" > /dev/null 2>&1; }

# gauge NAME NAMESPACE CLUSTER: what the operator in its pod shows of the cluster
gauge() {
    local address
    address=$(k -n kennet get pods -l app.kubernetes.io/name=kennet-operator -o 'jsonpath={.items[0].status.podIP}') || return 1
    inside curl -sf --max-time 5 "http://$address:9193/metrics" | sed -n "s/^kennet_operator_$1{namespace=\"$2\",cluster=\"$3\"} //p" | grep .
}

# gauge_is NAME VALUE: of the cluster c
gauge_is() {
    local found
    found=$(gauge "$1" default c) || { echo "there is no $1"; return 1; }
    [ "$found" = "$2" ] || { echo "$1 is '$found', expected '$2'"; return 1; }
}

pod_uid() { k get pod c-main-0 -o 'jsonpath={.metadata.uid}'; }

# writes: what the operator in its pod has written so far, without its lease
writes() {
    python3 - "$RUN/log/audit.json" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    if not line.endswith("\n"):
        break  # it is being written
    event = json.loads(line)
    target = event.get("objectRef", {})
    reads = event["verb"] in ("get", "list", "watch")
    if event["user"]["username"] == "system:serviceaccount:kennet:kennet" and not reads and target.get("resource") not in ("leases", "tokenreviews", "events"):
        print(event["verb"], target.get("resource"), target.get("subresource", "-"), target.get("name"))
PY
}
