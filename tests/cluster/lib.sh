# Sourced by what runs on a node: kubectl and helm inside of it, images, jobs. Needs tests/lib/common.sh and tests/kubernetes/lib.sh.
# shellcheck shell=bash

k() { "$KUBERNETES/in" kubectl "$@"; }
h() { "$KUBERNETES/in" helm "$@"; }

# cluster_images DIRECTORY: archives of broker, operator and client, from what is built
cluster_images() {
    local root client=$1/client
    root=$(cd "$KUBERNETES/../.." && pwd)
    "$root/images/build" "$1" &&
        (cd "$root/tests/cluster/client" && CGO_ENABLED=0 GOFLAGS="-buildvcs=false -modcacherw -trimpath" go build -ldflags "-s -w" -o "$client" .) &&
        "$root/images/mkimage" localhost/kennet-tests/client:1 "$1/client.tar" "$client:/client"
}

# restricted NAMESPACE...: they are there, and the API server refuses pods in them that are not as Kubernetes' strictest profile says
restricted() {
    local name
    for name in "$@"; do
        k apply --server-side -f - <<< "{apiVersion: v1, kind: Namespace, metadata: {name: $name, labels: {
            pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}}}" || return 1
    done
}

ready() { k wait --for=condition=Ready --timeout="${2:-90s}" "$1"; }

# ready_generation OBJECT: Ready, and about the newest spec
ready_generation() {
    local generation observed
    for _ in $(seq 600); do
        read -r generation observed < <(k get "$1" -o 'jsonpath={.metadata.generation} {.status.observedGeneration}')
        [ "$generation" = "$observed" ] && ready "$1" 1s > /dev/null 2>&1 && return 0
        sleep 0.2
    done
    k get "$1" -o yaml
    return 1
}

# reason OBJECT WORD [SECONDS]: its condition Ready has this reason
reason() {
    local found
    for _ in $(seq $((${3:-60} * 5))); do
        found=$(k get "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}' 2> /dev/null)
        [ "$found" = "$2" ] && return 0
        sleep 0.2
    done
    echo "the reason is '$found', expected '$2'"
    k get "$1" -o jsonpath='{.status}'
    return 1
}

# eventually SECONDS COMMAND...: it succeeds in time; its last output is shown when it does not
eventually() {
    local end=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        if [ $SECONDS -ge "$end" ]; then
            echo "$output"
            return 1
        fi
        sleep 0.3
    done
}

# writes_end: what was asked for before is done, so that writes from now on have another reason: `writes` tells nothing new for 5 s
writes_end() {
    local before now
    now=$(writes | wc -l)
    for _ in $(seq 8); do
        before=$now
        sleep 5
        now=$(writes | wc -l)
        [ "$before" = "$now" ] && return 0
    done
    echo "it writes all the time:"
    writes | tail -n 5
    return 1
}

# job NAME IMAGE COMMAND ARGUMENTS...: runs to its end; its output is ours, and its failure too
job() {
    local name=$1 image=$2 arguments
    shift 2
    arguments=$(printf '"%s",' "$@")
    k delete job "$name" --ignore-not-found --wait > /dev/null
    k apply -f - > /dev/null <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: $name}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: client
        image: $image
        imagePullPolicy: IfNotPresent
        command: [${arguments%,}]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
${JOB_EXTRA:-}
YAML
    local state
    for _ in $(seq 600); do
        state=$(k get job "$name" -o 'jsonpath={.status.conditions[?(@.status=="True")].type}')
        case $state in
            *Complete*) k logs "job/$name"; return 0 ;;
            *Failed*) k logs "job/$name"; return 1 ;;
        esac
        sleep 0.2
    done
    k describe job "$name"
    return 1
}

client() { job "$1" localhost/kennet-tests/client:1 /client "${@:2}"; }
