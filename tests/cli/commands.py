"""Every command but `dev` against the broker at ARGV[2], called as ARGV[1]; one line for each step."""

import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time

from kennet import Kennet, equal, interrupt, step, until

program, bootstrap = sys.argv[1:]
kennet = Kennet(program, bootstrap)
folder = tempfile.TemporaryDirectory()
chance = random.Random(1)
HOUR = 3_600_000
START = 1_790_000_000_000


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def fields(record):
    """What a record consists of, without where it lies."""
    return {key: value for key, value in record.items() if key not in ("topic", "partition", "offset", "timestamp")}


def read(topic, *arguments):
    return lines(kennet.run("consume", topic, "--from-beginning", "--to-end", "--output", "json", *arguments))


def committed(group="g"):
    [described] = kennet.json("groups", "describe", group)
    return {row["partition"]: row["offset"] for row in described["offsets"]}


def topics():
    kennet.run("topics", "create", "life", "--partitions", "2", "--config", "retention.ms=3600000")
    [listed] = [one for one in kennet.json("topics", "list") if one["topic"] == "life"]
    equal((listed["partitions"], listed["replicationFactor"]), (2, 1))
    kennet.run("topics", "alter", "life", "--partitions", "3", "--config", "max.message.bytes=2000000")
    kennet.run("topics", "alter", "life", "--delete-config", "retention.ms")
    [described] = kennet.json("topics", "describe", "life")
    equal(len(described["partitions"]), 3)
    equal(described["ownConfig"], ["max.message.bytes"])
    equal(described["config"]["max.message.bytes"], "2000000")
    kennet.run("topics", "delete", "life")
    assert "life" not in [one["topic"] for one in kennet.json("topics", "list")]


def dry_runs():
    kennet.run("topics", "create", "never", "--dry-run")
    assert "never" not in [one["topic"] for one in kennet.json("topics", "list")]
    kennet.run("topics", "create", "still")
    kennet.run("topics", "alter", "still", "--partitions", "4", "--config", "retention.ms=1", "--dry-run")
    [described] = kennet.json("topics", "describe", "still")
    equal((len(described["partitions"]), described["ownConfig"]), (1, []))


def refusals():
    kennet.refused(1, "still", "topics", "create", "still")
    kennet.refused(1, "none-such", "topics", "describe", "none-such")
    kennet.refused(1, "none-such", "topics", "delete", "none-such")
    kennet.refused(1, "a b", "topics", "create", "a b")
    kennet.refused(1, "still", "topics", "alter", "still", "--config", "no.such.key=1")
    kennet.refused(1, "none-such", "produce", "none-such", stdin=b"x\n")
    kennet.refused(1, "none-such", "groups", "describe", "none-such")
    kennet.refused(1, "line 1", "produce", "still", "--json", stdin=b"{nonsense\n")
    kennet.refused(2, "--partitions", "topics", "create", "x", "--partitions", "0")
    kennet.refused(2, "--to-earliest", "groups", "reset-offsets", "--group", "g", "--all-topics")
    kennet.refused(2, "--max", "consume", "still", "--from-beginning", "--max", "0")
    kennet.refused(1, "min.compaction.lag.ms (10) > max.compaction.lag.ms (5)", "topics", "create", "x", "-c", "min.compaction.lag.ms=10", "-c", "max.compaction.lag.ms=5")
    kennet.refused(2, "nothing to change", "topics", "alter", "still")
    kennet.refused(1, "127.0.0.1:1", "topics", "list", "--bootstrap", "127.0.0.1:1", "--timeout", "2s")


def remedies():
    """An ordinary mistake is told without the protocol's words, with what helps."""
    no_topic = "topic 'none-such' does not exist: kennet topics list"
    for arguments in (["produce"], ["consume"], ["consume", "--group", "r"], ["topics", "describe"], ["topics", "delete"]):
        kennet.refused(1, no_topic, *arguments, "none-such")
    kennet.refused(1, no_topic, "topics", "alter", "none-such", "--partitions", "2")
    kennet.refused(1, "docs/configuration.md", "topics", "alter", "still", "--config", "no.such.key=1")
    kennet.refused(1, "docs/configuration.md", "topics", "create", "x", "--config", "no.such.key=1")
    kennet.refused(1, "kennet topics alter changes it", "topics", "create", "still")
    for command in ("describe", "delete"):
        kennet.refused(1, "group 'none-such' does not exist: kennet groups list", "groups", command, "none-such")
    code, _, err = kennet.end("groups", "reset-offsets", "--group", "unheard", "--topic", "still", "--to-earliest")
    assert code == 0 and "group 'unheard' has no offsets yet" in err, f"exit {code}: {err}"


def addresses():
    """What is no address is refused at once, as a mistake of the caller."""
    for address, words in [
        ("host:99999", "port '99999'"),
        ("host:0", "port '0'"),
        ("host:kafka", "port 'kafka'"),
        (f"{bootstrap},:9092", "no host"),
        ("http://host:9092", "host 'http://host'"),
        ("", "no address"),
    ]:
        for command in (["topics", "list"], ["consume", "still"], ["topics", "list", "--orphaned"]):
            before = time.monotonic()
            kennet.refused(2, words, *command, "--bootstrap", address)
            assert time.monotonic() - before < 2, f"{address}: it took a while"
    # and is nothing to commands that don't connect
    other = Kennet(program, "host:99999", folder.name)
    other.run("dev", "status")
    for shown in (other.run("dev", "up", "--help"), other.run("completions", "--help")):
        assert b"--bootstrap" not in shown and b"--timeout" not in shown, shown


def errors_as_json():
    """One line on standard error, and the exit code of always."""
    for code, words, arguments in [
        (1, "'none-such'", ["topics", "describe", "none-such", "--output", "json"]),
        (2, "port '0'", ["-o", "json", "topics", "list", "--bootstrap", "h:0"]),
        (2, "--partitions", ["topics", "create", "x", "--partitions", "0", "--output=json"]),
        (2, "--bogus", ["consume", "still", "--bogus", "-ojson"]),
        (2, "subcommand", ["groups", "-o", "json"]),
        (3, "none.yaml", ["dev", "up", "-f", "none.yaml", "-o", "json"]),
    ]:
        found, out, err = kennet.end(*arguments)
        equal((found, out, err.count("\n")), (code, b"", 1))
        said = json.loads(err)
        assert list(said) == ["error"] and words in said["error"], f"{arguments}: {err}"


def offsets_outside():
    """An offset where there is nothing is told with what there is, also when only what is there is to be read."""
    for arguments in (["--partition", "0"], ["--partition", "0", "--to-end"], ["--group", "far", "--to-end"]):
        kennet.refused(1, "offset 999999 is outside of partition lines-0, which has 0 to 4", "consume", "lines", "--offset", "999999", *arguments)
    equal(kennet.run("consume", "lines", "--partition", "0", "--offset", "4", "--to-end"), b"")


def any_bytes(codec):
    def text(size):
        return base64.b64encode(chance.randbytes(size)).decode()

    topic = f"bytes-{codec}"
    kennet.run("topics", "create", topic, "--partitions", "3")
    records = [{"keyBase64": text(8), "valueBase64": text(chance.randrange(1, 4000))} for _ in range(400)]
    records += [{"key": "only"}, {"value": "v"}, {"key": "", "value": ""}, {}]
    records.append({"key": "h", "value": "line\nfeed", "headers": [{"key": "a", "value": "1"}, {"key": "a"}]})
    big = "x" * 900_000
    records.append({"key": "big", "value": big})
    sent = "".join(json.dumps(one) + "\n" for one in records)
    kennet.run("produce", topic, "--json", "--compression", codec, stdin=sent.encode())
    as_bytes = lambda one: json.dumps({name: raw(one, name) for name in ("key", "value")} | {"h": one.get("headers", [])})
    equal(sorted(map(as_bytes, read(topic))), sorted(map(as_bytes, records)))


def raw(record, name):
    if name + "Base64" in record:
        return base64.b64decode(record[name + "Base64"]).hex()
    return record[name].encode().hex() if name in record else None


def plain_lines():
    kennet.run("topics", "create", "lines")
    kennet.run("produce", "lines", "--key-separator", "=", "--header", "h=1", stdin=b"a=1\nb=2=2\n\xff=\xfe\nc=no newline")
    out = kennet.run("consume", "lines", "--from-beginning", "--to-end", "--key-separator", "=")
    equal(out, b"a=1\nb=2=2\n\xff=\xfe\nc=no newline\n")
    equal(kennet.run("consume", "lines", "--partition", "0", "--offset", "2", "--max", "1"), b"\xfe\n")
    equal(kennet.run("consume", "lines", "--to-end"), b"")
    equal(read("lines")[0]["headers"], [{"key": "h", "value": "1"}])


def times():
    """Four records in each of two partitions, an hour apart: what the resets work on."""
    kennet.run("topics", "create", "hours", "--partitions", "2", "--config", "retention.ms=-1")
    records = [
        {"partition": partition, "timestamp": str(START + hour * HOUR), "value": f"{partition}-{hour}"}
        for hour in range(4)
        for partition in range(2)
    ]
    sent = "".join(json.dumps(one) + "\n" for one in records)
    kennet.run("produce", "hours", "--json", "--keep-partitions", stdin=sent.encode())
    late = kennet.run("consume", "hours", "--from", str(START + 2 * HOUR), "--to-end")
    equal(sorted(late.split()), [b"0-2", b"0-3", b"1-2", b"1-3"])
    equal(read("hours")[0]["timestamp"][-1], "Z")
    again = "".join(json.dumps(one) + "\n" for one in read("hours"))
    kennet.run("topics", "create", "hours-copy", "--partitions", "2", "--config", "retention.ms=-1")
    kennet.run("produce", "hours-copy", "--json", "--keep-partitions", stdin=again.encode())
    strip = lambda one: {key: value for key, value in one.items() if key != "topic"}
    place = lambda one: (one["partition"], one["offset"])
    equal(sorted(map(strip, read("hours-copy")), key=place), sorted(map(strip, read("hours")), key=place))


def groups():
    first = kennet.run("consume", "hours", "--group", "g", "--from-beginning", "--max", "3")
    equal(len(first.split()), 3)
    [described] = kennet.json("groups", "describe", "g")
    equal((described["state"], sum(row["lag"] for row in described["offsets"])), ("Empty", 5))
    rest = kennet.run("consume", "hours", "--group", "g", "--to-end")
    equal(sorted(first.split() + rest.split()), sorted(f"{p}-{h}".encode() for p in range(2) for h in range(4)))
    equal(committed(), {0: 4, 1: 4})
    assert {"group": "g", "state": "Empty", "protocolType": "consumer"} in kennet.json("groups", "list")


def starts_of_groups():
    """A start is for what the group has not begun."""
    late = kennet.run("consume", "hours", "--group", "late", "--from", str(START + 2 * HOUR), "--to-end")
    equal(sorted(late.split()), [b"0-2", b"0-3", b"1-2", b"1-3"])
    last = kennet.run("consume", "hours", "--group", "last", "--offset", "3", "--to-end")
    equal(sorted(last.split()), [b"0-3", b"1-3"])
    code, out, err = kennet.end("consume", "hours", "--group", "last", "--from", str(START), "--to-end")
    equal((code, out), (0, b""))
    assert "reset-offsets" in err, err
    kennet.refused(2, "--group", "consume", "hours", "--group", "last", "--partition", "0")


def ends_of_groups():
    """The end is the one when reading began, though somebody goes on writing; what is committed is what was printed."""
    kennet.run("topics", "create", "endless")
    kennet.run("produce", "endless", stdin=b"x\n" * 1000)
    yes = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    writer = kennet.start("produce", "endless", stdin=yes.stdout)
    yes.stdout.close()
    try:
        for _ in range(3):
            before = committed("end").get(0, 0) if "end" in [one["group"] for one in kennet.json("groups", "list")] else 0
            read = kennet.run("consume", "endless", "--group", "end", "--from-beginning", "--to-end").count(b"\n")
            assert read >= 1000 or before, f"{read} records"
            equal(committed("end")[0], before + read)
    finally:
        equal(interrupt(writer)[0], 0)
        yes.wait(timeout=10)


def nothing_to_share():
    """One partition and two members: one of them has nothing to wait for."""
    kennet.run("topics", "create", "one")
    kennet.run("produce", "one", stdin=b"a\nb\n")
    other = kennet.start("consume", "one", "--group", "w", "--from-beginning")
    try:
        until(30, lambda: "w" in [one["group"] for one in kennet.json("groups", "list")] and committed("w").get(0) == 2, "both records are read")
        for _ in range(4):
            equal(kennet.run("consume", "one", "--group", "w", "--to-end"), b"")
    finally:
        equal(interrupt(other)[0::2], (0, ""))
    # also when it is interrupted while it joins again
    until(10, lambda: kennet.json("groups", "describe", "w")[0]["state"] == "Empty", "both have left")


def table(*arguments):
    return [line.split() for line in kennet.run(*arguments).decode().splitlines()[1:]]


def groups_without_offsets():
    """A group with nothing to show but itself is shown."""
    other = [kennet.start("consume", "one", "--group", "idle") for _ in range(2)]
    rows = lambda: table("groups", "describe", "idle")
    ready = lambda: "idle" in [one["group"] for one in kennet.json("groups", "list")] and len(rows()) == 2
    try:
        until(30, ready, "a row for the member with the partition, and one for the other")
        until(30, lambda: [row[1] for row in rows()] == ["Stable"] * 2, "a stable group")
        equal(sorted(row[2] for row in rows()), ["-", "one"])
        equal(len({row[-1] for row in rows()} - {"-"}), 2)
    finally:
        for process in other:
            equal(interrupt(process)[0::2], (0, ""))
    equal(rows(), [["idle", "Empty", "-", "-", "-", "-", "-", "-"]])


def reset(*arguments, execute=True):
    base = ["groups", "reset-offsets", "--group", "g"]
    scope = [] if any(one in ("--from-file", "--all-topics", "--topic") for one in arguments) else ["--topic", "hours"]
    return kennet.json(*base, *scope, *arguments, *(["--execute"] if execute else []))


def resets():
    plan = reset("--to-earliest", execute=False)
    equal((plan["applied"], committed()), (False, {0: 4, 1: 4}))
    moment = "2026-09-21T16:13:20Z"
    for arguments, expected in [
        (["--to-earliest"], {0: 0, 1: 0}),
        (["--to-latest"], {0: 4, 1: 4}),
        (["--to-offset", "3"], {0: 3, 1: 3}),
        (["--shift-by", "-1"], {0: 2, 1: 2}),
        (["--shift-by", "1", "--topic", "hours:1"], {0: 2, 1: 3}),
        (["--to-current"], {0: 2, 1: 3}),
        (["--shift-by", "-100"], {0: 0, 1: 0}),
        (["--to-offset", "100"], {0: 4, 1: 4}),
        (["--to-datetime", moment], {0: 2, 1: 2}),
        (["--by-duration", "P36500D"], {0: 0, 1: 0}),
        (["--all-topics", "--to-latest"], {0: 4, 1: 4}),
    ]:
        reset(*arguments)
        assert committed() == expected, f"{arguments}: found {committed()}, expected {expected}"
    equal(kennet.run("consume", "hours", "--group", "g", "--to-end"), b"")


def files():
    path = os.path.join(folder.name, "offsets.csv")
    exported = kennet.run("groups", "reset-offsets", "--group", "g", "--topic", "hours", "--to-offset", "1", "--export")
    with open(path, "wb") as file:
        file.write(exported)
    reset("--from-file", path)
    equal(committed(), {0: 1, 1: 1})
    with open(path, "w", encoding="utf-8") as file:
        file.write('"hours",0,3\n"hours",1,2\n')
    reset("--from-file", path)
    equal(committed(), {0: 3, 1: 2})


    kennet.refused(2, "'other'", "groups", "reset-offsets", "--group", "other", "--from-file", exported_for("g"), "--execute")
    kennet.refused(2, "--topic", "groups", "reset-offsets", "--group", "g", "--topic", "hours", "--from-file", path, "--execute")
    kennet.refused(2, "--export writes CSV", *"groups reset-offsets --group g --topic hours --to-offset 1 --export -o json".split())
    equal(committed(), {0: 3, 1: 2})


def exported_for(*groups):
    """Kafka's format with several groups: each line names one."""
    path = os.path.join(folder.name, "groups.csv")
    with open(path, "w", encoding="utf-8") as file:
        for group in groups:
            file.write(f'"{group}","hours",0,0\n"{group}","hours",1,0\n')
    return path


def all_groups():
    """Groups without commits are left out, groups with members stay, and everybody's outcome is told."""
    for group in ("all-a", "all-z"):
        kennet.run("groups", "reset-offsets", "--group", group, "--topic", "hours", "--to-offset", "1", "--execute")
    silent = kennet.start("consume", "still", "--group", "all-m")
    listed = lambda: {one["group"]: one["state"] for one in kennet.json("groups", "list")}
    arguments = ["groups", "reset-offsets", "--all-groups", "--all-topics", "--to-offset", "2", "--execute", "--output", "json"]
    try:
        until(30, lambda: listed().get("all-m") == "Stable", "a group with a member and without commits")
        code, out, err = kennet.end(*arguments)
        assert code == 0 and "all-m" in err, f"exit {code}: {err}"
        outcomes = {one["group"]: one["outcome"] for one in json.loads(out)["outcomes"]}
        equal((outcomes["all-a"], outcomes["all-z"], "all-m" in outcomes), ("Applied", "Applied", False))
        equal((committed("all-a"), committed("all-z")), ({0: 2, 1: 2}, {0: 2, 1: 2}))
        kennet.run("produce", "still", stdin=b"x\n")
        until(30, lambda: committed("all-m") == {0: 1}, "the member commits")
        arguments[5] = "3"
        code, out, err = kennet.end(*arguments)
        assert code == 1 and "were not moved" in err and "all-m" in err, f"exit {code}: {err}"
        equal(err.count("'all-m' has members"), 1)
        answer = json.loads(out)
        outcomes = {one["group"]: one["outcome"] for one in answer["outcomes"]}
        equal([outcomes[group] for group in ("all-a", "all-m", "all-z")], ["Applied", "Failed", "Applied"])
        equal((answer["applied"], committed("all-a"), committed("all-z")), (False, {0: 3, 1: 3}, {0: 3, 1: 3}))
        # a group that was named keeps all from being moved
        named = ["--group", "all-a", "--group", "all-m", "--all-topics", "--to-earliest", "--execute"]
        kennet.refused(1, "has members", "groups", "reset-offsets", *named)
        equal(committed("all-a"), {0: 3, 1: 3})
    finally:
        equal(interrupt(silent)[0::2], (0, ""))


def plans():
    path = os.path.join(folder.name, "plan.json")
    plan = reset("--to-earliest", execute=False)["plans"][0]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(plan, file)
    outcome = lambda: json.loads(kennet.run("reset-apply", "--plan", path))["outcome"]
    equal([outcome(), outcome(), committed()], ["Applied", "AlreadyApplied", {0: 0, 1: 0}])
    reset("--to-offset", "2")
    kennet.refused(1, "make a new plan", "reset-apply", "--plan", path)
    equal(committed(), {0: 2, 1: 2})


def members():
    one = kennet.start("consume", "hours", "--group", "two")
    other = kennet.start("consume", "hours", "--group", "two")
    readers = lambda: {row["member"] for row in kennet.json("groups", "describe", "two")[0]["offsets"]} - {None}
    stable = lambda: any(row["group"] == "two" for row in kennet.json("groups", "list")) and len(readers()) == 2
    try:
        until(30, stable, "two members with a partition each")
        moved = ["groups", "reset-offsets", "--group", "two", "--topic", "hours", "--to-earliest"]
        kennet.refused(1, "has members", *moved, "--execute")
        shown = kennet.end(*moved)[2]
        assert "the plan can't be applied" in shown and "--execute" not in shown, shown
        kennet.refused(1, "group 'two' has members: end its consumers", "groups", "delete", "two")
        equal(interrupt(one)[0::2], (0, ""))
        until(30, lambda: len(readers()) == 1, "the one that stays has both partitions")
    finally:
        equal(interrupt(other)[0::2], (0, ""))
    until(10, lambda: kennet.json("groups", "describe", "two")[0]["state"] == "Empty", "both have left")


def itself():
    assert kennet.run("--version").startswith(b"kennet "), "no version"
    for shell in ("bash", "zsh", "fish"):
        script = kennet.run("completions", shell)
        assert b"reset-offsets" in script and b"reset-apply" not in script, shell
    plugin = os.path.join(folder.name, "kubectl-kennet")
    os.symlink(os.path.abspath(program), plugin)
    assert b"kubectl kennet" in Kennet(plugin).run("--help"), "the plugin calls itself by another name"


def terminated():
    """SIGTERM, which is how pods and services are ended, lets a member leave as Ctrl-C does."""
    one = kennet.start("consume", "hours", "--group", "ended")
    state = lambda: {row["group"]: row["state"] for row in kennet.json("groups", "list")}.get("ended")
    try:
        until(30, lambda: state() == "Stable", "a stable group")
        one.terminate()
        equal((one.wait(timeout=30), one.stderr.read()), (143, b""))
        # before the session of 30 s ends
        until(10, lambda: state() == "Empty", "it has left")
    finally:
        one.kill()


def deletions():
    """One that is refused keeps nobody else from being deleted, and what was done is told."""
    for name in ("d1", "d2"):
        kennet.run("topics", "create", name)
    code, out, err = kennet.end("topics", "delete", "d1", "none-such", "d2", "--output", "json")
    answer = json.loads(out)
    equal((code, answer["deleted"], [one["name"] for one in answer["failed"]]), (1, ["d1", "d2"], ["none-such"]))
    assert "topic 'none-such' does not exist" in json.loads(err)["error"], err
    code, out, err = kennet.end("groups", "delete", "ended", "none-such")
    equal((code, out), (1, b"Deleted ended.\n"))
    assert "group 'none-such' does not exist" in err, err


def ends():
    kennet.run("groups", "delete", "g", "two")
    equal([one for one in kennet.json("groups", "list") if one["group"] in ("g", "two")], [])


step("topics are created, listed, described, changed and deleted", topics)
step("a dry run changes nothing", dry_runs)
step("what is refused is said in a sentence, with the right exit code", refusals)
step("an ordinary mistake is told with what helps", remedies)
step("what is no address is refused at once", addresses)
step("failures are JSON where JSON is asked for", errors_as_json)
for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    step(f"any bytes come back, compression {codec}", lambda: any_bytes(codec))
step("lines with keys and headers, from an offset, from the end", plain_lines)
step("an offset outside of a partition is refused", offsets_outside)
step("reading by time; a topic copied with partitions and times", times)
step("a group reads on where it stopped", groups)
step("a group starts where it is told to, once", starts_of_groups)
step("a group's end is that of the beginning", ends_of_groups)
step("a member without a share ends", nothing_to_share)
step("a group without offsets is described", groups_without_offsets)
step("every way to reset offsets", resets)
step("offsets out to a file and back", files)
step("all groups are reset, with an outcome for each", all_groups)
step("a plan is applied once", plans)
step("two members share; a group with members is left alone", members)
step("a member that is terminated leaves", terminated)
step("of several, those that can be are deleted", deletions)
step("version, completions, kubectl's plugin", itself)
step("groups are deleted", ends)
folder.cleanup()
