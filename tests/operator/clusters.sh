# Sourced by the run of this folder: steps about KafkaClusters and OffsetResets.
# shellcheck shell=bash

refused_clusters() {
    refused "more than one broker comes with replication; set brokers to 0 or 1" apply "$(cluster two 'brokers: 2, storage: {size: 1Gi}')" &&
        refused "at most 36 characters" apply "$(cluster a-name-of-more-than-thirty-six-letters)" &&
        refused "ports 9190 to 9199 are Kennet's own" \
            apply "$(cluster port 'brokers: 1, storage: {size: 1Gi}, listeners: [{name: plain, port: 9191}]')"
}

unknown_config() {
    local before
    before=$(pod_uid)
    spec kafkacluster/c '{"config":{"no.such.key":"1"}}' && stalled kafkacluster/c InvalidSpec no.such.key || return 1
    # its broker serves, and so do its topics
    apply "$(topic meanwhile 'partitions: 1')" && ready topic/meanwhile && k delete topic meanwhile || return 1
    spec kafkacluster/c '{"config":null}' && ready_generation kafkacluster/c && [ "$(pod_uid)" = "$before" ]
}

message_of() { k get "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].message}' | grep -F -- "$2"; }

# it is told why its pod waits, Kubernetes may still heal it, and a smaller wish starts it
unschedulable() {
    apply "$(cluster big 'brokers: 1, storage: {size: 1Gi, whenDeleted: Delete}, resources: {requests: {memory: 64Ti}}')" &&
        reason kafkacluster/big Unschedulable 30 && message_of kafkacluster/big "Insufficient memory; look at spec.resources.requests" &&
        judged kafkacluster/big InProgress && spec kafkacluster/big '{"resources":null}' && ready kafkacluster/big 90s &&
        k delete kafkacluster big --wait
}

refused_resets() {
    local earliest='target: {type: Earliest}'
    apply "$(offset_reset fixed "topics: [{name: records}], $earliest")" &&
        refused "only approvedPlan can change" spec offsetreset/fixed '{"groupId":"others"}' &&
        refused "approval: Automatic requires notAfter" apply "$(offset_reset auto "$earliest, approval: Automatic")" &&
        refused "offset: set it for type Offset, and only then" apply "$(offset_reset odd 'target: {type: Earliest, offset: 3}')" &&
        k delete offsetreset fixed && apply "$(offset_reset back 'target: {type: RollbackOf, rollbackOf: {name: none}}')" &&
        stalled offsetreset/back InvalidTarget "there is no such OffsetReset" && k delete offsetreset back
}

# group_offsets: the sum of what the group has committed
group_offsets() {
    kafka --output json groups describe readers |
        python3 -c 'import json, sys; print(sum(one["offset"] for one in json.load(sys.stdin)[0]["offsets"]))'
}

group_read() {
    seq 300 | kafka produce records && kafka consume records --group readers --from-beginning --max 300 | wc -l | grep -qx 300 &&
        [ "$(group_offsets)" = 300 ]
}

job_pod() { k get pods -l kennet.dev/offset-reset="$1" -o name | grep -m 1 .; }

# job_killed NAME DELAY: an approved reset whose Job loses its pod; what the status says in the end is what the offsets are
job_killed() {
    apply "$(offset_reset "$1" "topics: [{name: records}], target: {type: Earliest}, approval: Automatic, notAfter: \"2099-01-01T00:00:00Z\"")" &&
        eventually 30 job_pod "$1" || return 1
    sleep "$2"
    k delete "$(job_pod "$1")" --grace-period=0 --force --wait=false
    local found offsets
    for _ in $(seq 400); do
        found=$(k get offsetreset "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}')
        case $found in Applied | ApplyFailed | OffsetsMoved) break ;; esac
        sleep 0.2
    done
    offsets=$(group_offsets)
    case $found:$offsets in
        Applied:0 | ApplyFailed:300) echo "$found" ;;
        *) echo "the status says '$found', and the group is at $offsets"; return 1 ;;
    esac
}

killed_at_once() { job_killed soon 0; }
killed_later() { kafka groups reset-offsets --group readers --topic records --to-latest --execute && [ "$(group_offsets)" = 300 ] && job_killed late 0.6; }

undecodable() {
    local any='{"x-kubernetes-preserve-unknown-fields":true}' spec=/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties
    k patch crd kafkaclusters.kennet.dev --type json -p "[{\"op\":\"replace\",\"path\":\"$spec/config\",\"value\":$any}]" &&
        k patch crd topics.kennet.dev --type json -p "[{\"op\":\"replace\",\"path\":\"$spec/partitions\",\"value\":$any}]" || return 1
    eventually 20 apply "$(cluster strange 'brokers: 1, storage: {size: 1Gi}, config: 3')" && eventually 20 apply "$(topic strange 'partitions: three')" &&
        stalled kafkacluster/strange Undecodable "can't read the object" && stalled topic/strange Undecodable "can't read the object"
}

others_live() {
    apply "$(cluster d)" && ready kafkacluster/d 90s && apply "$(topic after 'partitions: 1')" && ready topic/after &&
        spec topic/records '{"config":{"retention.ms":"700000"}}' && ready_generation topic/records && topic_has records '"retention.ms":"700000"'
}

# also under an operator that starts with such objects
restarted() {
    k -n kennet rollout restart deploy/kennet && k -n kennet rollout status deploy/kennet --timeout=60s &&
        apply "$(topic again 'partitions: 1')" && ready topic/again
}

corrected() {
    k delete topic strange && spec kafkacluster/strange '{"config":null}' && ready_generation kafkacluster/strange &&
        definitions && k delete kafkacluster strange
}

volume_goes() {
    apply "$(cluster e 'brokers: 1, storage: {size: 1Gi, whenDeleted: Delete}')" && ready kafkacluster/e 90s && k get pvc data-e-main-0 &&
        k delete kafkacluster e --wait && eventually 60 object_gone pvc/data-e-main-0 && eventually 30 object_gone secret/e-identity
}

volume_stays() {
    k delete kafkacluster d --wait && k wait --for=delete pod/d-main-0 --timeout=60s && sleep 2 && k get pvc/data-d-main-0 secret/d-identity
}

# a volume that was to go and now is to stay has no owner left that takes it along
volume_stays_after_all() {
    apply "$(cluster f 'brokers: 1, storage: {size: 1Gi, whenDeleted: Delete}')" && ready kafkacluster/f 90s &&
        spec kafkacluster/f '{"storage":{"whenDeleted":"Retain"}}' && ready_generation kafkacluster/f &&
        eventually 20 ownerless pvc/data-f-main-0 && eventually 20 ownerless secret/f-identity && k delete kafkacluster f --wait &&
        k wait --for=delete pod/f-main-0 --timeout=60s && sleep 2 && k get pvc/data-f-main-0 secret/f-identity
}

ownerless() { [ -z "$(k get "$1" -o 'jsonpath={.metadata.ownerReferences}')" ]; }

operator_pod() { k -n kennet get pods -l app.kubernetes.io/name=kennet-operator -o 'jsonpath={.items[0].metadata.name}'; }

# its process on this machine, which may have others of that name
operator_process() {
    local uid process
    uid=$(k -n kennet get pod "$1" -o 'jsonpath={.metadata.uid}') || return 1
    for process in /proc/[0-9]*; do
        grep -qsx kennet-operator "$process/comm" && grep -qs "${uid//-/[-_]}" "$process/cgroup" && echo "${process#/proc/}" && return 0
    done
    echo "no process is in pod $1"
    return 1
}

# it can't release its lease of 60 s, being stopped before it is killed: the next one sees that the holder is gone
lease_taken() {
    local pod process
    pod=$(operator_pod) && process=$(operator_process "$pod") && kill -STOP "$process" || return 1
    k -n kennet delete pod "$pod" --grace-period=0 --force && apply "$(topic taken 'partitions: 1')" && ready topic/taken 40s
}

no_budget() { [ -z "$(k get poddisruptionbudgets -o name)" ]; }
a_budget() { ! no_budget; }

budget() {
    a_budget && spec kafkacluster/c '{"disruptionBudget":"Disabled"}' && eventually 30 no_budget &&
        spec kafkacluster/c '{"disruptionBudget":null}' && eventually 30 a_budget && ready_generation kafkacluster/c
}

# an image that is not there: the roll is taken back, the old broker serves, and the spec can be mended
roll_reverted() {
    spec kafkacluster/c '{"version":"9.9.9"}' && reason kafkacluster/c RolloutReverted 90 && ready kafkacluster/c 60s &&
        stalled kafkacluster/c RolloutReverted "change the spec" && spec kafkacluster/c '{"version":null}' && ready_generation kafkacluster/c &&
        reason kafkacluster/c Serving 30
}

# what a roll writes down for the way back is forgotten once the broker is ready
roll_forgotten() {
    local before
    before=$(pod_uid)
    spec kafkacluster/c '{"config":{"num.partitions":"4"}}' && eventually 60 replaced "$before" && ready_generation kafkacluster/c &&
        eventually 20 no_way_back
}

replaced() { local now; now=$(pod_uid) && [ -n "$now" ] && [ "$now" != "$1" ]; }
no_way_back() { ! k get statefulset c-main -o 'jsonpath={.metadata.annotations}' | grep -F kennet.dev/previous-template; }

wipe() { k patch "$1" --subresource status --type json -p '[{"op":"replace","path":"/status","value":{"observedGeneration":-1}}]'; }

statuses_wiped() {
    local object objects before pod described
    objects=$(k get kafkaclusters,topics,offsetresets -o name)
    described=$(kafka --output json topics describe records) pod=$(pod_uid)
    writes_end || return 1
    before=$(writes | wc -l)
    [ "$before" -gt 0 ] || { echo "the audit log knows no write of the operator"; return 1; }
    for object in $objects; do wipe "$object" || return 1; done
    for object in $objects; do eventually 60 observed "$object" || { k get "$object" -o yaml; return 1; }; done
    sleep 3
    if writes | tail -n +$((before + 1)) | grep -v '^[a-z]* [a-z]* status '; then echo "was written"; return 1; fi
    [ "$(pod_uid)" = "$pod" ] && [ "$(kafka --output json topics describe records)" = "$described" ]
}

observed() { k get "$1" -o 'jsonpath={.metadata.generation} {.status.observedGeneration}' | grep -qE '^([0-9]+) \1$'; }

all_judged() {
    local found
    found=$(k get kafkaclusters,topics,offsetresets -o json | kstatus) && [ -n "$found" ] || return 1
    # a Job that was killed for good is the only failure that may be there
    ! grep -v '^Current ' <<< "$found" | grep -v '^Failed OffsetReset/'
}

# its volume's class says Delete, so this one volume is told to stay
namespace_made() {
    local volume
    restricted gone && apply "$(cluster c)" -n gone && apply "$(topic one 'partitions: 1')" -n gone &&
        apply "$(topic two 'partitions: 1, onDelete: Delete, deletionDelay: 0s')" -n gone &&
        k -n gone wait --for=condition=Ready --timeout=90s kafkacluster/c topic/one topic/two &&
        inside "$programs/kennet" --bootstrap c-bootstrap.gone.svc:9092 produce one <<< "outlives its namespace" &&
        volume=$(k -n gone get pvc data-c-main-0 -o 'jsonpath={.spec.volumeName}') &&
        k patch pv "$volume" --type merge -p '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}' &&
        basename "$(k get pv "$volume" -o 'jsonpath={.spec.hostPath.path}')" > "$work/gone" &&
        eventually 20 gauge topics_retained gone c && gauge topic_deletions_held gone c
}

# the topic that its Topic keeps, and whose volume it is; nobody is told of the cluster any more
namespace_outlived() {
    local folder
    folder=$RUN/hostpath/$(cat "$work/gone")
    find "$folder" -name identity.json | grep . && grep -rlaF --include='*.log' "outlives its namespace" "$folder" || { find "$folder"; return 1; }
    eventually 30 not_shown topics_retained && not_shown topic_deletions_held
}

not_shown() { ! gauge "$1" gone c; }

# the chart's table and the API server's audit log; what this suite can't bring about is listed with its reason
rights_used() {
    k -n kennet get clusterrole/kennet role/kennet-lease -o json | "$here/rights" "$RUN/log/audit.json" "$here/rights.allowed"
}

# too_late: a plan that could be applied, after its time; the offsets stay
too_late() {
    local before plan=$work/too-late.json
    before=$(group_offsets)
    kafka --output json groups reset-offsets --group readers --topic records --shift-by -1 |
        python3 -c 'import json, sys; json.dump(json.load(sys.stdin)["plans"][0], open(sys.argv[1], "w"))' "$plan" || return 1
    refused '"outcome":"Expired"' kafka reset-apply --plan "$plan" --not-after 2026-01-01T00:00:00Z &&
        KENNET_NOT_AFTER=2026-01-01T00:00:00Z refused "notAfter is 2026-01-01T00:00:00Z: nothing was changed" \
            kafka reset-apply --plan "$plan" || return 1
    [ "$(group_offsets)" = "$before" ]
}

clusters_steps() {
    step "operator: clusters that can't be are refused with the remedy" refused_clusters
    step "operator: an unknown broker config stalls, leaves the broker alone and heals" unknown_config
    step "operator: a broker that fits on no node says so, and starts when it does" unschedulable
    step "operator: what may not be in an OffsetReset is refused" refused_resets
    step "operator: a group reads everything" group_read
    step "operator: a plan is not applied after notAfter" too_late
    step "operator: a reset's Job that is killed at once ends in a true status" killed_at_once
    step "operator: a reset's Job that is killed later ends in a true status" killed_later
    step "operator: objects that do not decode are stalled" undecodable
    step "operator: they stop nobody else" others_live
    step "operator: nor an operator that finds them when it starts" restarted
    step "operator: they can be corrected and deleted" corrected
    step "operator: whenDeleted Delete takes volume and identity along" volume_goes
    step "operator: whenDeleted Retain keeps them" volume_stays
    step "operator: whenDeleted may change to Retain" volume_stays_after_all
    step "operator: a finished roll leaves no way back" roll_forgotten
    step "operator: a roll to an image that is not there is taken back" roll_reverted
    step "operator: its disruption budget goes and comes with the spec" budget
    step "operator: an operator that was killed is followed at once, before its lease runs out" lease_taken
    step "operator: wiped statuses come back, and nothing else is written" statuses_wiped
    step "operator: kstatus calls every object current" eventually 30 all_judged
    step "operator: a namespace gets a cluster and Topics" namespace_made
    step "operator: the namespace is deleted completely" k delete namespace gone --wait --timeout=110s
    step "operator: its volume has the topic and the identity still, and no gauge has the cluster" namespace_outlived
    step "operator: every right that the chart grants is used" rights_used
}
