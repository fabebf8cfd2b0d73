# Sourced by the run of this folder: steps about what people see of objects, and about fields of the spec that a running cluster is changed by.
# shellcheck shell=bash

# columns KIND HEADER [NAME ROW]: what kubectl shows of the kind, and of one object, with single spaces; the age is left out
columns() {
    local found
    found=$(k get "$1" | tr -s ' ' | sed 's/ $//') || return 1
    grep -qxF -- "$2 AGE" <<< "$(head -n 1 <<< "$found")" || { echo "$found"; return 1; }
    [ $# = 2 ] || grep -qE -- "^$3 $4 [^ ]+$" <<< "$found" || { echo "$found"; return 1; }
}

seen() {
    columns knc "NAME BROKERS AVAILABLE VERSION READY REASON" c '1 1 [^ ]+ True Serving' &&
        columns knt "NAME CLUSTER TOPIC PARTITIONS RF READY REASON" records 'c records 3 1 True InSync' || return 1
    k get kennet -o name | grep -qx kafkacluster.kennet.dev/c && k get kennet -o name | grep -qx topic.kennet.dev/records || return 1
    # a habit like "kubectl delete all --all" must not reach data
    if k get all -o name | grep -F kennet.dev/; then echo "is in the category all"; return 1; fi
}

scaled() {
    k scale kafkacluster/c --replicas=0 && k wait --for=delete pod/c-main-0 --timeout=60s && reason kafkacluster/c Stopped 30 &&
        [ "$(k get kafkacluster c --subresource scale -o 'jsonpath={.status.replicas}')" = 0 ] &&
        reason topic/records ClusterStopped 30 && not_ready topic/records &&
        k scale kafkacluster/c --replicas=1 && ready_generation kafkacluster/c && reason kafkacluster/c Serving 30 && ready topic/records 30s &&
        [ "$(k get kafkacluster c --subresource scale -o 'jsonpath={.status.replicas} {.status.selector}')" = "1 kennet.dev/cluster=c,kennet.dev/pool=main" ]
}

# path OBJECT JSONPATH EXPECTED
path() {
    local found
    found=$(k get "$1" -o "jsonpath=$2") || return 1
    [ "$found" = "$3" ] || { echo "$2 of $1 is '$found', expected '$3'"; return 1; }
}

budget_allows() { path poddisruptionbudget/c-main '{.spec.maxUnavailable}' "$1"; }

# one roll that waits for two permits; before them neither the pod nor its template is touched
roll_permitted() {
    local before template='{.spec.template.metadata.annotations}' was
    before=$(pod_uid) was=$(k get statefulset c-main -o "jsonpath=$template")
    apply '{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: brokers}, value: 1000}' &&
        spec kafkacluster/c '{"rollout":{"paused":true,"unprotectedPartitions":"Block"},"pods":{
            "labels":{"team":"orders"},"annotations":{"example.com/note":"kept"},"nodeSelector":{"kubernetes.io/os":"linux"},
            "tolerations":[{"key":"example.com/disk","operator":"Exists","effect":"NoSchedule"}],
            "priorityClassName":"brokers","imagePullSecrets":[{"name":"registry"}]}}' &&
        reason kafkacluster/c RolloutPaused 30 && path kafkacluster/c '{.status.rollout.heldBy}' Paused &&
        spec kafkacluster/c '{"rollout":{"paused":false}}' && reason kafkacluster/c RolloutHeld 30 &&
        path kafkacluster/c '{.status.rollout.heldBy}' UnprotectedPartitions && eventually 10 budget_allows 0 &&
        k get kafkacluster c -o 'jsonpath={.status.conditions[*].message}' | grep -F "would be unavailable during a restart" || return 1
    [ "$(pod_uid)" = "$before" ] && [ "$(k get statefulset c-main -o "jsonpath=$template")" = "$was" ] || { echo "it was touched"; return 1; }
    spec kafkacluster/c '{"rollout":null}' && eventually 60 replaced "$before" && ready_generation kafkacluster/c && budget_allows 1
}

# what spec.pods says is in the template and in the pod; what selects pods stays
pods_made_so() {
    local object at
    for object in statefulset/c-main pod/c-main-0; do
        at=''
        [ $object = pod/c-main-0 ] || at=.spec.template
        path $object "{$at.metadata.labels.team}" orders && path $object "{$at.metadata.annotations.example\.com/note}" kept &&
            path $object "{$at.metadata.labels.kennet\.dev/cluster}" c && path $object "{$at.spec.nodeSelector.kubernetes\.io/os}" linux &&
            path $object "{$at.spec.tolerations[?(@.key==\"example.com/disk\")].effect}" NoSchedule &&
            path $object "{$at.spec.priorityClassName}" brokers && path $object "{$at.spec.imagePullSecrets[*].name}" registry || return 1
    done
}

claim_asks_for() { path pvc/data-c-main-0 '{.spec.resources.requests.storage}' "$1"; }

# the class says that it can; that nothing here does it is no matter of the operator
volume_grows() {
    k patch storageclass standard --type merge -p '{"allowVolumeExpansion":true}' &&
        spec kafkacluster/c '{"storage":{"size":"2Gi"}}' && eventually 30 claim_asks_for 2Gi && ready_generation kafkacluster/c &&
        spec kafkacluster/c '{"storage":{"size":"1Gi"}}' &&
        stalled kafkacluster/c ShrinkRefused "claim data-c-main-0 has 2Gi, and a volume can't shrink; set 2Gi or more" &&
        claim_asks_for 2Gi && ready kafkacluster/c 1s && spec kafkacluster/c '{"storage":{"size":"2Gi"}}' && reason kafkacluster/c Serving 30
}

replication_factor() {
    spec topic/records '{"replicationFactor":2}' &&
        stalled topic/records ReplicationFactorChangeRefused "spec.replicationFactor is '2': topic 'records' has 1" &&
        spec topic/records '{"replicationFactor":1}' && ready_generation topic/records && reason topic/records InSync 30
}

# aim NAME TARGET: a reset of the group aimers, which is at 40 of the 100 records of one partition
aim() {
    echo "{apiVersion: kennet.dev/v1alpha1, kind: OffsetReset, metadata: {name: aim-$1}, spec: {clusterRef: {name: c}, groupId: aimers, topics: [{name: aims}], target: {$2}}}"
    echo ---
}

# planned NAME SKIPPED REPLAYED TARGET
planned() {
    reason "offsetreset/aim-$1" AwaitingApproval 30 && path "offsetreset/aim-$1" \
        '{.status.plan.recordsSkipped} {.status.plan.recordsReplayed} {.status.plan.sample[0].current} {.status.plan.sample[0].target}' "$2 $3 40 $4"
}

committed() {
    local found
    found=$(kafka --output json groups describe aimers | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["offsets"][0]["offset"])')
    [ "$found" = "$1" ] || { echo "the group is at '$found', expected $1"; return 1; }
}

approved() {
    local hash
    hash=$(k get "offsetreset/aim-$1" -o 'jsonpath={.status.plan.hash}')
    spec "offsetreset/aim-$1" "{\"approvedPlan\":\"$hash\"}" && reason "offsetreset/aim-$1" Applied 60
}

targets_planned() {
    kafka topics create aims --partitions 1 && seq 100 | kafka produce aims &&
        kafka consume aims --group aimers --from-beginning --max 100 | wc -l | grep -qx 100 &&
        kafka groups reset-offsets --group aimers --topic aims --to-offset 40 --execute && committed 40 || return 1
    { aim latest 'type: Latest'; aim offset 'type: Offset, offset: 7'; aim duration 'type: Duration, duration: 24h'
        aim back 'type: ShiftBy, shiftBy: -5'; aim forward 'type: ShiftBy, shiftBy: 10'
        aim offsets 'type: Offsets, offsets: [{topic: aims, partition: 0, offset: 90}]'; } | k apply -f - || return 1
    planned latest 60 0 100 && planned offset 0 33 7 && planned duration 0 40 0 && planned back 0 5 35 && planned forward 10 0 50 &&
        planned offsets 50 0 90 && columns kno "NAME GROUP TARGET SKIPPED REPLAYED APPLIED REASON" aim-latest 'aimers Latest 60 0 False AwaitingApproval' &&
        committed 40
}

targets_applied() {
    approved offsets && committed 90 && k delete offsetreset aim-latest aim-offset aim-duration aim-back aim-forward aim-offsets &&
        kafka topics delete aims
}

INPUTS=kennet.dev/restart-inputs

# template_inputs TEXT: the annotation of the StatefulSet's template, which restarts nobody
template_inputs() {
    k patch statefulset c-main --type merge -p "$(python3 -c 'import json, sys
print(json.dumps({"spec": {"template": {"metadata": {"annotations": {sys.argv[1]: sys.argv[2]}}}}}))' $INPUTS "$1")"
}

# a newer operator was here: this one keeps its hands off, of Topics too, and goes on when that is over
operator_too_old() {
    local inputs newer pod code=0
    inputs=$(k get statefulset c-main -o "jsonpath={.spec.template.metadata.annotations.${INPUTS/./\\.}}") || return 1
    newer=${inputs/'"version":1'/'"version":99'}
    [ "$newer" != "$inputs" ] || { echo "no version in $inputs"; return 1; }
    pod=$(pod_uid)
    template_inputs "$newer" &&
        stalled kafkacluster/c OperatorTooOld "version 99, and this operator knows 1" && ready kafkacluster/c 1s &&
        k annotate pod c-main-0 "$INPUTS=$newer" --overwrite && spec topic/records '{"config":{"retention.ms":"650000"}}' &&
        reason topic/records OperatorTooOld 30 && topic_has records '"retention.ms":"600000"' &&
        spec kafkacluster/c '{"config":{"num.partitions":"9"}}' && eventually 30 observed kafkacluster/c &&
        reason kafkacluster/c OperatorTooOld 10 || code=1
    # what was asked for meanwhile is taken back before it could be done
    spec kafkacluster/c '{"config":{"num.partitions":null}}' && spec topic/records '{"config":{"retention.ms":"600000"}}' &&
        k annotate pod c-main-0 "$INPUTS=$inputs" --overwrite && template_inputs "$inputs" && reason kafkacluster/c Serving 30 &&
        reason topic/records InSync 30 && [ "$(pod_uid)" = "$pod" ] && return $code
}

# etcd CALL JSON: of the store itself, as whoever restores it does
etcd() {
    "$KUBERNETES/in" python3 - "$1" "$2" <<'PY'
import sys, urllib.request
request = urllib.request.Request(f"http://127.0.0.1:2379/v3/kv/{sys.argv[1]}", data=sys.argv[2].encode(), method="POST")
print(urllib.request.urlopen(request, timeout=10).read().decode())
PY
}

stored_cluster() { etcd range "{\"key\":\"$CLUSTER_KEY\"}"; }

# restored FILE: what was read with stored_cluster, but stopped, is what there is
restored() {
    local value
    value=$(python3 - "$1" <<'PY'
import base64, json, sys
stored = json.loads(base64.b64decode(json.load(open(sys.argv[1]))["kvs"][0]["value"]))
stored["spec"]["brokers"] = 0
print(base64.b64encode(json.dumps(stored).encode()).decode())
PY
    ) && etcd put "{\"key\":\"$CLUSTER_KEY\",\"value\":\"$value\"}"
}

event_about() { k get events -o 'jsonpath={range .items[*]}{.reason} {.message} {.note}{"\n"}{end}' | grep -F "$1" | grep -F -- "$2"; }

# the store is restored to a time two edits ago, when the cluster was stopped
spec_went_back() {
    local generation pod doomed='partitions: 1, onDelete: Delete, deletionDelay: 2h' brief='partitions: 1, onDelete: Delete, deletionDelay: 0s'
    CLUSTER_KEY=$(printf '/registry/kennet.dev/kafkaclusters/default/c' | base64 -w 0)
    apply "$(topic doomed "$doomed")" && apply "$(topic sudden "$brief")" && ready topic/doomed && ready topic/sudden &&
        k delete topic doomed --wait && eventually 30 event_about TopicDeletionScheduled "'doomed'" || return 1
    stored_cluster > "$work/stored.json" && generation=$(k get kafkacluster c -o 'jsonpath={.metadata.generation}') && pod=$(pod_uid) &&
        spec kafkacluster/c '{"disruptionBudget":"Disabled"}' && ready_generation kafkacluster/c &&
        spec kafkacluster/c '{"disruptionBudget":null}' && ready_generation kafkacluster/c && eventually 30 a_budget || return 1
    restored "$work/stored.json" &&
        stalled kafkacluster/c SpecWentBack "has generation $generation, and its generation $((generation + 2)) was applied before" &&
        ready kafkacluster/c 1s && eventually 30 event_about TopicDeletionHeld "'doomed'" && k delete topic sudden --wait || return 1
    # by then it would be gone
    sleep 4
    topic_there sudden && topic_there doomed && [ "$(pod_uid)" = "$pod" ] || { echo "the pod or a topic went"; return 1; }
    spec kafkacluster/c '{"brokers":1}' && stalled kafkacluster/c SpecWentBack "then changed it once" &&
        spec kafkacluster/c '{"disruptionBudget":"Managed"}' && reason kafkacluster/c Serving 30 && eventually 30 topic_gone sudden &&
        topic_there doomed && [ "$(pod_uid)" = "$pod" ]
}

# bootstrap_ports PORTS: in whichever order
bootstrap_ports() {
    local found
    found=$(k get service p-bootstrap -o 'jsonpath={.spec.ports[*].port}' | tr ' ' '\n' | sort -n | paste -sd ' ') || return 1
    [ "$found" = "$1" ] || { echo "the ports are '$found', expected '$1'"; return 1; }
}

answers() { inside timeout 10 "$programs/kennet" --bootstrap "p-bootstrap.default.svc:$1" topics list | grep -qw -- p-records; }
answers_not() { ! answers "$1"; }
p_records() { topic p-records "partitions: 1, config: {retention.ms: \"$1\"}" | sed 's/clusterRef: {name: c}/clusterRef: {name: p}/'; }

# its roll waits, so the broker has only the old port open, and whoever is told the new one already gets there too
listener_waits() {
    apply "$(cluster p)" && apply "$(p_records 600000)" && ready kafkacluster/p 90s && ready topic/p-records && bootstrap_ports 9092 && answers 9092 &&
        spec kafkacluster/p '{"rollout":{"paused":true},"listeners":[{"name":"plain","port":9095},{"name":"more","port":9096}]}' &&
        reason kafkacluster/p RolloutPaused 30 && eventually 20 bootstrap_ports "9092 9095 9096" && eventually 20 answers 9095 && answers 9092 || return 1
    # by the port that the broker has, the operator reaches it as before
    apply "$(p_records 700000)" && ready_generation topic/p-records && reason topic/p-records InSync 10
}

listener_arrives() {
    spec kafkacluster/p '{"rollout":null}' && ready_generation kafkacluster/p && eventually 60 bootstrap_ports "9095 9096" && reason kafkacluster/p Serving 30 &&
        eventually 20 answers 9095 && eventually 20 answers 9096 && eventually 20 answers_not 9092 &&
        apply "$(p_records 800000)" && ready_generation topic/p-records && reason topic/p-records InSync 30 &&
        k delete topic p-records --wait && k delete kafkacluster p --wait
}

fields_steps() {
    step "operator: kubectl shows the kinds by their short names and columns" seen
    step "operator: a Topic's replication factor stalls with the remedy, and heals" replication_factor
    step "operator: a roll waits while it is paused and while topics would be unavailable" roll_permitted
    step "operator: what the spec says of pods reaches them" pods_made_so
    step "operator: a listener that moves while rolls are paused is reached by its new port and the old one" listener_waits
    step "operator: then it is reached by the new one alone, and so is a listener that came with the change" listener_arrives
    step "operator: a volume claim grows, and a smaller size is refused and heals" volume_grows
    step "operator: resets to the end, an offset, a duration, a shift and a list are planned" targets_planned
    step "operator: one of them is applied" targets_applied
    step "operator: what a newer operator made is left alone" operator_too_old
    step "operator: a spec that went back stops no broker and deletes no topic" spec_went_back
    step "operator: kubectl scale stops the broker and starts it" scaled
}
