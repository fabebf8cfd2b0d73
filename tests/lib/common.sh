# Sourced by the suites: where caches are, how results are told, which broker is tested.
# shellcheck shell=bash

LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KENNET_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/kennet
KAFKA_VERSION=4.3.1
KAFKA_HOME=$KENNET_CACHE/kafka-$KAFKA_VERSION
KAFKA_LIBS=$KAFKA_HOME/kafka/libs
export KENNET_CACHE KAFKA_VERSION KAFKA_HOME KAFKA_LIBS

pass() { echo "PASS $*"; }
fail() { echo "FAIL $*"; FAILED=1; }
skip() { echo "SKIP $*"; }

# step NAME COMMAND...: a PASS or FAIL line; the command, which may be a function, has a time limit, and its output is shown when it fails.
step() {
    local name=$1 output
    shift
    if output=$(bounded "${STEP_SECONDS:-120}" "$@" 2>&1); then
        pass "$name"
    else
        fail "$name: exit $?: $(tail -n 3 <<< "$output" | tr '\n' ' ' | cut -c1-400)"
        printf '%s\n' "$output" | tail -n 40 >&2
    fi
}

# bounded SECONDS COMMAND...: as timeout, for functions too.
bounded() {
    local seconds=$1 pid dog code
    shift
    if [ "$(type -t "$1")" != function ]; then
        timeout "$seconds" "$@"
        return
    fi
    "$@" &
    pid=$!
    # the watchdog lets go of our output, so that nobody waits for it
    (sleep "$seconds" && pkill -P "$pid"; kill "$pid") > /dev/null 2>&1 &
    dog=$!
    wait "$pid"
    code=$?
    { pkill -P "$dog"; kill "$dog"; wait "$dog"; } 2> /dev/null
    return $code
}

# have PROGRAM...: whether all of them are on the PATH, after trying Debian's packages of the same names.
have() {
    local missing=()
    for program in "$@"; do
        command -v "$program" > /dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    "$LIB/install" "${missing[@]}"
    for program in "${missing[@]}"; do
        command -v "$program" > /dev/null || return 1
    done
}

# kafka_jars NAME: whether Apache Kafka can run here. Without Java or Maven it is skipped, with them it must be there.
kafka_jars() {
    if ! command -v java > /dev/null || { [ ! -f "$KAFKA_HOME/complete" ] && ! command -v mvn > /dev/null; }; then
        skip "$1: Apache Kafka needs Java and Maven"
        return 1
    fi
    "$LIB/../kafka/fetch" || { fail "$1: Apache Kafka's jars can't be fetched"; return 1; }
}

# python_with PACKAGE==VERSION...: prints a python that has them, from a cached environment named after them; fails when there can't be one.
# Only what is complete is marked so: `set -e` holds in no function that is called from a condition.
python_with() {
    local key environment
    key=$(printf '%s\n' "$@" "$(python3 --version)" | sha256sum | cut -c1-16)
    environment=$KENNET_CACHE/python-$key
    if [ ! -f "$environment/complete" ]; then
        python_venv || return 1
        rm -rf "$environment"
        python3 -m venv "$environment" >&2 && "$environment/bin/pip" install --quiet "$@" >&2 && touch "$environment/complete" || return 1
    fi
    echo "$environment/bin/python"
}

# Whether python3 can make environments, after trying Debian's package.
python_venv() {
    python3 -c 'import ensurepip, venv' 2> /dev/null && return 0
    "$LIB/install" python3 python3-venv
    python3 -c 'import ensurepip, venv' 2> /dev/null || { echo "python3 can't make environments: install python3-venv" >&2; return 1; }
}

# Builds programs as they are in the images, static; the arguments are cargo's, such as packages. The same flags everywhere, so that each is built once.
static_build() {
    local root
    root=$(cd "$LIB/../.." && pwd)
    (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --locked --profile system --target x86_64-unknown-linux-gnu "$@")
}

# Where they lie then.
static_folder() {
    local root
    root=$(cd "$LIB/../.." && pwd)
    echo "${CARGO_TARGET_DIR:-$root/target}/x86_64-unknown-linux-gnu/system"
}

# Builds the programs that are tested, and prints their folder. KENNET_PROGRAMS=folder takes those there.
build_programs() {
    if [ -n "${KENNET_PROGRAMS:-}" ]; then
        (cd "$KENNET_PROGRAMS" && pwd)
        return
    fi
    # callers run this in $(...), where a failure ends nothing by itself
    static_build --quiet -p kennet-broker -p kennet -p kennet-operator >&2 || return
    static_folder
}
