# Sourced by the scripts of this folder: versions, the cache, the run directory.
# shellcheck shell=bash

KUBERNETES_VERSION=1.34.4
KUBERNETES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Programs and images, built once, kept outside of every checkout and keyed by version.
KUBERNETES_HOME=${KENNET_KUBERNETES_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/kennet/kubernetes-$KUBERNETES_VERSION}
# Certificates, logs and data of a running cluster.
RUN=${KENNET_KUBERNETES_RUN:-$KUBERNETES_HOME/run}
# The network namespace and cgroup of a node-level cluster; another cluster beside it needs another name and run directory.
NAMESPACE=${KENNET_KUBERNETES_NAMESPACE:-kennet-k8s}
PATH=$KUBERNETES_HOME/bin:$PATH
export KUBERNETES_VERSION KUBERNETES KUBERNETES_HOME RUN NAMESPACE PATH

# wait_for SECONDS WHAT COMMAND...: until the command succeeds; says what was waited for when it never does.
wait_for() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@" > /dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "$what: not within $seconds s" >&2
            return 1
        fi
        sleep 0.1
    done
}

# end_process PID...: SIGTERM, and after five seconds SIGKILL.
end_process() {
    local pid
    for pid in "$@"; do kill "$pid" 2> /dev/null || true; done
    for _ in $(seq 50); do
        kill -0 "$@" 2> /dev/null || return 0
        sleep 0.1
    done
    for pid in "$@"; do kill -9 "$pid" 2> /dev/null || true; done
}
