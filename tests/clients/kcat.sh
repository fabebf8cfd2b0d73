#!/usr/bin/env bash
# kcat (librdkafka): produces and consumes with every codec and compares every byte; reads by offset and by time.
set -u
bootstrap=$1
topic=kcat-$RANDOM$RANDOM
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { # check STEP EXPECTED FOUND
    if cmp -s "$2" "$3"; then echo "ok $1"; else echo "not $1: $(cmp "$2" "$3" 2>&1 | head -n 1)"; fi
}

for codec in none gzip snappy lz4 zstd; do
    for n in $(seq 1 2000); do printf 'key-%d:%s value %d of a line that compresses\n' "$n" "$codec" "$n"; done > "$work/sent"
    kcat -b "$bootstrap" -P -t "$topic-$codec" -K: -z "$codec" -X acks=all -X topic.partitioner=consistent < "$work/sent" || echo "not produce $codec: exit $?"
    kcat -b "$bootstrap" -C -t "$topic-$codec" -o beginning -e -q -f '%k:%s\n' > "$work/read"
    sort "$work/sent" > "$work/a"
    sort "$work/read" > "$work/b"
    check "round trip $codec" "$work/a" "$work/b"
done

head -c 900000 /dev/urandom > "$work/large"
kcat -b "$bootstrap" -P -t "$topic-large" "$work/large"
kcat -b "$bootstrap" -C -t "$topic-large" -o beginning -e -q -D '' > "$work/read"
check "a record of 900 000 bytes" "$work/large" "$work/read"

seq 1 100 | kcat -b "$bootstrap" -P -t "$topic-seq"
kcat -b "$bootstrap" -C -t "$topic-seq" -p 0 -o 90 -e -q > "$work/read"
seq 91 100 > "$work/expected"
check "from an offset" "$work/expected" "$work/read"
kcat -b "$bootstrap" -C -t "$topic-seq" -p 0 -o -5 -e -q > "$work/read"
seq 96 100 > "$work/expected"
check "the last five" "$work/expected" "$work/read"
kcat -b "$bootstrap" -C -t "$topic-seq" -o s@0 -e -q > "$work/read"
seq 1 100 > "$work/expected"
check "from a time" "$work/expected" "$work/read"
printf '%s\n' x y | kcat -b "$bootstrap" -P -t "$topic-idempotent" -X enable.idempotence=true
kcat -b "$bootstrap" -C -t "$topic-idempotent" -o beginning -e -q > "$work/read"
printf '%s\n' x y > "$work/expected"
check "an idempotent producer" "$work/expected" "$work/read"
kcat -b "$bootstrap" -L -J > "$work/metadata"
if grep -q "\"topic\":\"$topic-seq\"" "$work/metadata"; then echo "ok metadata"; else echo "not metadata: the topic is not listed"; fi
seq 1 500 | kcat -b "$bootstrap" -P -t "$topic-group"
timeout 60 kcat -b "$bootstrap" -G "$topic-g" -X auto.offset.reset=earliest -X enable.partition.eof=true -e -q "$topic-group" > "$work/read"
seq 1 500 > "$work/expected"
sort -n "$work/read" > "$work/sorted"
check "a consumer group" "$work/expected" "$work/sorted"
timeout 60 kcat -b "$bootstrap" -G "$topic-g" -X auto.offset.reset=earliest -X enable.partition.eof=true -e -q "$topic-group" > "$work/read"
: > "$work/expected"
check "a group goes on where it was" "$work/expected" "$work/read"
