"""The demo's records and its checks.

    history.py records ROOT            a repository's history as JSON lines for `kennet produce --json`
    history.py compare IN OUT          whether OUT holds the same records, in order within each key
    history.py moment IN               a time in the middle of the records
    history.py replayed PLAN LINES     whether as many lines were read as the plan said
"""

import base64
import collections
import datetime
import json
import os
import subprocess
import sys

FILES_MAX = 2000
BYTES_MAX = 500_000
UNIT = "\x1f"


def git(root, *arguments):
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, check=True).stdout.decode("utf-8", "replace")


def commits(root):
    """One record for each commit and each top folder that it touched."""
    log = git(root, "log", "--reverse", "--numstat", f"--format=%x00%H{UNIT}%an{UNIT}%ct{UNIT}%s")
    for entry in log.split("\0")[1:]:
        head, *lines = entry.strip("\n").split("\n")
        sha, author, seconds, subject = head.split(UNIT)
        folders = collections.defaultdict(list)
        for line in filter(None, lines):
            added, removed, path = line.split("\t", 2)
            folder = path.split("/")[0] if "/" in path else "."
            folders[folder].append({"path": path, "added": added, "removed": removed})
        for folder, files in sorted(folders.items()):
            value = {"subject": subject, "files": files}
            yield record(int(seconds) * 1000, f"{author} {folder}", json.dumps(value).encode(), {"commit": sha})


def sources(root):
    """Without a repository: one record for each source file."""
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "target")
        for name in sorted(files):
            path = os.path.join(folder, name)
            if count < FILES_MAX and os.path.getsize(path) < BYTES_MAX:
                count += 1
                relative = os.path.relpath(path, root)
                with open(path, "rb") as file:
                    yield record(int(os.path.getmtime(path)) * 1000, relative.split(os.sep)[0], file.read(), {"path": relative})


def text_or_base64(name, data):
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(data).decode()}


def record(milliseconds, key, value, headers):
    time = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    return {
        "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **text_or_base64("key", key.encode()),
        **text_or_base64("value", value),
        "headers": [{"key": name, "value": value} for name, value in headers.items()],
    }


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def by_key(records):
    """What each key's records are, in order, without their places."""
    keys = collections.defaultdict(list)
    for one in records:
        content = {name: value for name, value in one.items() if name not in ("topic", "partition", "offset")}
        keys[one.get("key")].append(content)
    return keys


def records(root):
    try:
        found = list(commits(root))
    except (subprocess.CalledProcessError, FileNotFoundError):
        found = []
    for one in found or sources(root):
        print(json.dumps(one))


def compare(wanted, found):
    wanted, found = read(wanted), read(found)
    if by_key(wanted) != by_key(found):
        sys.exit(f"the records differ: {len(wanted)} written, {len(found)} read")
    partitions = len({one["partition"] for one in found})
    print(f"{len(found)} records in {partitions} partitions: keys, values, headers, times and order are the same")


def moment(path):
    print(sorted(one["timestamp"] for one in read(path))[len(read(path))  // 4])


def replayed(plan, lines):
    with open(plan, encoding="utf-8") as file:
        moves = [move for one in json.load(file)["plans"] for move in one["moves"]]
    expected = sum(move["end"] - move["target"] for move in moves)
    with open(lines, encoding="utf-8") as file:
        found = sum(1 for _ in file)
    if found != expected:
        sys.exit(f"{found} records were read after the rewind, and the plan said {expected}")
    print(f"{found} records read again, as the plan said")


if __name__ == "__main__":
    {"records": records, "compare": compare, "moment": moment, "replayed": replayed}[sys.argv[1]](*sys.argv[2:])
