# Sourced by the run of this folder: steps about Topics.
# shellcheck shell=bash

made() {
    apply "$(cluster c)" && apply "$(topic records 'partitions: 3, config: {retention.ms: "600000"}')" &&
        ready kafkacluster/c 120s && ready topic/records 60s && judged kafkacluster/c Current && judged topic/records Current
}

not_ready() { [ "$(k get "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = False ]; }

waits() {
    apply "{apiVersion: kennet.dev/v1alpha1, kind: Topic, metadata: {name: early}, spec: {clusterRef: {name: none}}}" &&
        reason topic/early ClusterMissing && not_ready topic/early && judged topic/early InProgress && k delete topic early
}

immutable() {
    refused "clusterRef is immutable" spec topic/records '{"clusterRef":{"name":"other"}}' &&
        refused "topicName is immutable" spec topic/records '{"topicName":"other"}' &&
        refused "Kafka's own" apply "$(topic own 'topicName: __own')"
}

shrinks() {
    spec topic/records '{"partitions":1}' &&
        stalled topic/records PartitionDecreaseRefused "spec.partitions is '1': topic 'records' has 3 and can't shrink; set 3 or more" &&
        spec topic/records '{"partitions":3}' && ready_generation topic/records && judged topic/records Current
}

unknown_topic_config() {
    spec topic/records '{"config":{"no.such.key":"1"}}' && stalled topic/records InvalidSpec no.such.key &&
        spec topic/records '{"config":{"no.such.key":null}}' && ready_generation topic/records
}

drift_reverted() {
    kafka topics alter records --config retention.ms=1234567 && eventually 30 topic_has records '"retention.ms":"600000"' &&
        ready topic/records 10s && eventually 10 event_about Reverted "retention.ms was '1234567' and is '600000' again"
}

drifted() { k get topic told -o 'jsonpath={.status.drift[*]}' | grep -F retention.ms | grep -F 1234567 | grep -F 600000; }

drift_reported() {
    apply "$(topic told 'partitions: 1, drift: Report, config: {retention.ms: "600000"}')" && ready topic/told &&
        kafka topics alter told --config retention.ms=1234567 && eventually 30 drifted && reason topic/told Drifted 30 &&
        topic_has told '"retention.ms":"1234567"' && judged topic/told Current
}

adoption_never() {
    kafka topics create there --partitions 2 --config retention.ms=600000 &&
        apply "$(topic there 'partitions: 2, adoption: Never')" && stalled topic/there TopicExists "spec.adoption is 'Never'"
}

adoption_identical() {
    spec topic/there '{"adoption":"IfIdentical","partitions":3}' && stalled topic/there TopicDiffers "partitions 2 instead of 3" &&
        stalled topic/there TopicDiffers "retention.ms 600000, which spec.config does not name" &&
        spec topic/there '{"partitions":2,"config":{"retention.ms":"600000"}}' && ready_generation topic/there && reason topic/there InSync 30
}

adoption_always() {
    kafka topics create other --partitions 2 &&
        apply "$(topic other 'partitions: 4, adoption: Always, config: {retention.ms: "500000"}')" && ready topic/other &&
        topic_has other '"retention.ms":"500000"' && [ "$(k get topic other -o 'jsonpath={.status.partitions}')" = 4 ]
}

claimed() {
    apply "$(topic second 'topicName: records, partitions: 3')" && stalled topic/second TopicClaimed "Topic default/records has claimed it" &&
        k delete topic second && sleep 2 && ready topic/records 10s && topic_there records
}

# the records, too, and people are told
retained() {
    apply "$(topic kept 'partitions: 1')" && ready topic/kept && kafka produce kept <<< "a record" || return 1
    # the audit after its creation is over by then
    sleep 2
    local before
    before=$(gauge topics_retained default c) && echo "$before" > "$work/retained" && k delete topic kept --wait &&
        eventually 30 gauge_is topics_retained $((before + 1)) &&
        eventually 10 event_about TopicRetained "Topic kept is gone; topic 'kept' and its records stay" &&
        [ "$(kafka consume kept --from-beginning --to-end)" = "a record" ]
}

taken_up_again() { apply "$(topic kept 'partitions: 1')" && ready topic/kept && eventually 30 gauge_is topics_retained "$(cat "$work/retained")"; }

deleted() {
    apply "$(topic brief 'partitions: 1, onDelete: Delete, deletionDelay: 0s')" && ready topic/brief && topic_there brief &&
        k delete topic brief --wait && eventually 30 topic_gone brief && topic_there records
}

# many [SPEC]: twelve Topics, two more than may be deleted in an hour
many() {
    for one in $(seq 12); do topic "many-$one" "partitions: 1${1:+, $1}" && echo ---; done
}

many_ready() { for one in $(seq 12); do ready "topic/many-$one" "$1" || return 1; done; }

# a condition with the remedy, on a cluster that serves; over when the Topics are there again
mass_deletion() {
    apply "$(many 'onDelete: Delete, deletionDelay: 0s')" && many_ready 60s && k delete --wait -f - <<< "$(many)" &&
        stalled kafkacluster/c MassDeletionHeld "apply their Topics again to keep them" && ready kafkacluster/c 1s || return 1
    # nothing more is held, and nothing is deleted with the objects that keep their topics
    apply "$(many)" && many_ready 60s && reason kafkacluster/c Serving 30 && judged kafkacluster/c Current && k delete --wait -f - <<< "$(many)"
}

crowd() {
    for one in $(seq 60); do topic "crowd-$one" 'partitions: 1' && echo ---; done
}

# cluster_reads: how often the operator has read the cluster c, which whoever settles Topics does first
cluster_reads() {
    python3 - "$RUN/log/audit.json" <<'PY'
import json, sys
count = 0
for line in open(sys.argv[1]):
    event = json.loads(line)
    target = event.get("objectRef", {})
    ours = event["user"]["username"] == "system:serviceaccount:kennet:kennet" and event["verb"] == "get"
    count += ours and (target.get("resource"), target.get("namespace"), target.get("name")) == ("kafkaclusters", "default", "c")
print(count)
PY
}

# an operator that starts with many Topics looks at their cluster a few times, not once for each
together() {
    local before after
    apply "$(crowd)" && k wait --for=condition=Ready --timeout=90s topic --all && before=$(cluster_reads) || return 1
    k -n kennet rollout restart deploy/kennet && k -n kennet rollout status deploy/kennet --timeout=60s &&
        apply "$(topic last 'partitions: 1')" && ready topic/last && sleep 3 && after=$(cluster_reads) || return 1
    k delete --wait -f - <<< "$(crowd)" && k delete topic last
    [ "$after" -gt "$before" ] && [ $((after - before)) -lt 30 ] || { echo "the cluster was read $((after - before)) times"; return 1; }
}

topics_steps() {
    step "operator: a Topic without its cluster waits, and kstatus says so" waits
    step "operator: what may not change in a Topic is refused" immutable
    step "operator: fewer partitions stall with the remedy, and heal" shrinks
    step "operator: an unknown topic config stalls with its name, and heals" unknown_topic_config
    step "operator: drift is reverted" drift_reverted
    step "operator: drift is reported and left alone" drift_reported
    step "operator: adoption Never leaves a topic that exists alone" adoption_never
    step "operator: adoption IfIdentical takes the same topic over and no other" adoption_identical
    step "operator: adoption Always makes the topic as the spec says" adoption_always
    step "operator: a second Topic for the same topic is stalled and does no harm" claimed
    step "operator: a deleted Topic leaves its topic and the records" retained
    step "operator: made again, it takes its topic over" taken_up_again
    step "operator: onDelete Delete deletes the topic after its delay" deleted
    step "operator: an operator that starts with sixty Topics settles them together" together
    step "operator: too many deletions stall the cluster, which serves on, until their Topics are back" mass_deletion
}
