"""`kennet dev`: ARGV[1] the program (kennet-broker beside it), ARGV[2] the folder of examples, ARGV[3] an empty folder to work in."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from kennet import Kennet, catches_interrupts, equal, interrupt, step, until

program, examples, folder = sys.argv[1:]
kennet = Kennet(os.path.abspath(program), folder=folder)
quickstart = os.path.join(os.path.abspath(examples), "quickstart.yaml")
running = []


def status():
    return kennet.json("dev", "status")


def serving():
    return [one["state"] for one in status()] == ["Serving"]


def topics():
    [one] = status()
    kennet.environment["KENNET_BOOTSTRAP"] = one["bootstrap"]
    return {one["topic"]: one["partitions"] for one in kennet.json("topics", "list")}


def up(file=quickstart, by=kennet):
    process = by.start("dev", "up", "-f", file)
    running.append(process)
    line = b""
    while b"bootstrap  " not in line:
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait(timeout=30)}: {process.stderr.read().decode()}"
    return process


def comes_up():
    up()
    until(10, serving, "a cluster that serves")
    equal(topics(), {"events": 6})
    kennet.run("produce", "events", stdin=b"one\ntwo\n")


def second_is_refused():
    code, _, err = kennet.end("dev", "up", "-f", quickstart)
    assert code != 0 and "quickstart" in err, f"exit {code}: {err}"
    assert serving(), "the refused one harmed the one that runs"


def goes_down():
    kennet.run("dev", "down")
    equal(running[-1].wait(timeout=30), 0)
    equal([one["state"] for one in status()], ["Stopped"])
    kennet.run("dev", "down")


def data_stays():
    process = up()
    equal(sorted(kennet.run("consume", "events", "--from-beginning", "--to-end", "--bootstrap", address()).split()), [b"one", b"two"])
    code, _, err = interrupt(process)
    equal((code, "panicked" in err), (0, False))


def address():
    return status()[0]["bootstrap"]


def killed_supervisor():
    process = up()
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, out, err = kennet.end("dev", "status", "--output", "json")
    [one] = json.loads(out)
    equal((code, one["state"], one["running"]), (0, "Serving", True))
    assert "kennet dev down quickstart" in err, err
    kennet.run("topics", "list", "--bootstrap", one["bootstrap"])
    kennet.run("dev", "down")
    equal([(one["state"], one["bootstrap"]) for one in status()], [("Stopped", None)])
    up()
    until(10, serving, "a cluster that serves again")
    kennet.run("dev", "down")


def stray_files():
    """What somebody else put beside the clusters is left alone; what can't be read is named."""
    strays = os.path.join(folder, ".kennet")
    os.makedirs(os.path.join(strays, "broken"))
    for path, text in [("notes.txt", "mine"), ("broken/dev.json", "{")]:
        with open(os.path.join(strays, path), "w", encoding="utf-8") as file:
            file.write(text)
    process = up()
    try:
        for arguments in (["dev", "status"], ["dev", "down"]):
            code, out, err = kennet.end(*arguments)
            assert code == 0 and b"quickstart" in out and "broken" in err and "notes.txt" not in err, f"exit {code}: {out} {err}"
        equal(process.wait(timeout=30), 0)
        kennet.refused(3, "broken", "dev", "status", "broken")
    finally:
        os.remove(os.path.join(strays, "notes.txt"))
        shutil.rmtree(os.path.join(strays, "broken"))
        kennet.end("dev", "down")


def killed_broker():
    process = up()
    os.kill(broker(), signal.SIGKILL)
    err = process.communicate(timeout=30)[1].decode()
    assert "was killed by signal 9" in err and "quickstart/broker.log" in err, err
    equal((process.returncode, [one["state"] for one in status()]), (1, ["Stopped"]))


def readers_end():
    """A reader ends when nobody reads its output any more or the broker is gone, though there is nothing to write."""
    up()
    place = ["--bootstrap", address(), "--timeout", "3s"]
    kennet.run("produce", "events", *place, stdin=b"x\n")
    closed, broken, alone = ([], [], ["--group", "alone"])
    for one in (["--from-beginning"], ["--group", "piped", "--from-beginning"]):
        reader = kennet.start("consume", "events", *one, *place)
        assert reader.stdout.readline(), reader.stderr.read()
        reader.stdout.close()
        closed.append(reader)
    for reader in closed:
        equal((reader.wait(timeout=5), reader.stderr.read()), (0, b""))
    equal([one["state"] for one in kennet.json("groups", "describe", "piped", *place)], ["Empty"])
    for one in ([], alone):
        reader = kennet.start("consume", "events", *one, *place)
        until(10, lambda: catches_interrupts(reader.pid), "the reader is at work")
        broken.append(reader)
    time.sleep(1)
    os.kill(broker(), signal.SIGKILL)
    for reader in broken:
        err = reader.communicate(timeout=20)[1].decode()
        assert reader.returncode == 1 and "no broker answers" in err, f"exit {reader.returncode}: {err}"
    # a closed pipe is seen also when the broker hangs, in which case leaving the group is not waited for
    up()
    reader = kennet.start("consume", "events", "--group", "hung", "--from-beginning", "--bootstrap", address())
    assert reader.stdout.readline(), "nothing was read"
    time.sleep(0.5)
    os.kill(broker(), signal.SIGSTOP)
    try:
        reader.stdout.close()
        equal((reader.wait(timeout=10), reader.stderr.read()), (0, b""))
    finally:
        os.kill(broker(), signal.SIGCONT)
    kennet.run("dev", "down")


def slow_down():
    """A broker that takes its time to stop: one line says so in a pipe, progress on a terminal."""
    for start, end in [
        (lambda: kennet.start("dev", "down"), lambda process: process.communicate(timeout=30)[1].decode()),
        (lambda: kennet.terminal("dev", "down"), lambda terminal: terminal.end()[1]),
    ]:
        up()
        pid = broker()
        os.kill(pid, signal.SIGSTOP)
        try:
            down = start()
            time.sleep(2.5)
        finally:
            os.kill(pid, signal.SIGCONT)
        shown = end(down)
        assert "the broker of cluster 'quickstart'" in shown, repr(shown)
    up()
    equal(kennet.end("dev", "down")[2], "")


def grown():
    with open(quickstart, encoding="utf-8") as file:
        text = file.read().replace("partitions: 6", "partitions: 7")
    path = os.path.join(folder, "grown.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    up(path)
    until(10, serving, "a cluster that serves")
    equal(topics(), {"events": 7})
    kennet.run("dev", "down")


def wrong_manifests():
    for words, change in [
        ("brokers", lambda text: text.replace("brokers: 1", "brokers: 3")),
        ("brokerz", lambda text: text.replace("brokers: 1", "brokers: 1\n  brokerz: 1")),
        ("size", lambda text: text.replace("size: 1Gi", "size: big")),
        ("is a line --- missing", lambda text: text.replace("---\n", "")),
        ("expected kennet.dev/v1alpha1", lambda text: text.replace("kennet.dev/v1alpha1", "kennet.dev/v9")),
        ("examples/quickstart.yaml", lambda text: ""),
    ]:
        with open(quickstart, encoding="utf-8") as file:
            text = change(file.read())
        path = os.path.join(folder, "wrong.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        kennet.refused(3, words, "dev", "up", "-f", path)
    kennet.refused(3, "none.yaml", "dev", "up", "-f", "none.yaml")
    kennet.refused(3, "reading .", "dev", "up", "-f", ".")


def taken_ports():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        # the first of the ten is the one that is told, whoever has the others
        kennet.refused(5, str(port), "dev", "up", "-f", quickstart, "--base-port", str(port))


def foreign_data():
    """The data of another cluster: the broker's exit code comes through."""
    path = os.path.join(folder, status()[0]["folder"], "dev.json")
    with open(path, encoding="utf-8") as file:
        own = file.read()
    with open(path, "w", encoding="utf-8") as file:
        json.dump(json.loads(own) | {"clusterId": "5L6g3nShT-eMCtK--X86sw"}, file)
    kennet.refused(4, "cluster", "dev", "up", "-f", quickstart)
    with open(path, "w", encoding="utf-8") as file:
        file.write(own)
    up()
    kennet.run("dev", "down")


def broker():
    [path] = [os.path.join(folder, one["folder"], "dev.json") for one in status()]
    with open(path, encoding="utf-8") as file:
        return json.load(file)["broker"]["pid"]


def an_offline_partition():
    """What is damaged is shown without offsets, and the rest with them."""
    topics = os.path.join(folder, status()[0]["folder"], "data", "topics")
    logs = [os.path.join(one, name) for one, _, files in os.walk(topics) for name in files if name.endswith(".log")]
    log = logs[0]
    damaged = int(os.path.basename(os.path.dirname(log)))
    os.rename(log, log + ".kept")
    os.mkdir(log)
    up()
    code, out, err = kennet.end("topics", "describe", "events", "--output", "json", "--bootstrap", address())
    equal(code, 0)
    [described] = json.loads(out)
    offsets = {one["partition"]: (one["startOffset"], one["endOffset"], "error" in one) for one in described["partitions"]}
    equal(offsets.pop(damaged), (None, None, True))
    assert all(start == 0 and end is not None and not error for start, end, error in offsets.values()), offsets
    assert f"events-{damaged}" in err, err
    kennet.run("dev", "down")
    os.rmdir(log)
    os.rename(log + ".kept", log)


def curl(state, *arguments):
    """The management endpoint, as the operator calls it: changes of ownership are its alone."""
    tls = os.path.join(folder, state["folder"], "tls")
    port = int(state["bootstrap"].rsplit(":", 1)[1]) + 7
    certificates = ["--cacert", f"{tls}/ca.crt", "--cert", f"{tls}/cli.crt", "--key", f"{tls}/cli.key"]
    command = ["curl", "-sS", "-f", "--max-time", "10", *certificates, *arguments, f"https://127.0.0.1:{port}/v1/topic-owners"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def own(state, topic, action, **more):
    owner = {"namespace": "n", "name": "object", "uid": "u"}
    change = {"topic": topic, "action": action, "owner": owner} | more
    curl(state, "-X", "POST", "-H", "content-type: application/json", "-d", json.dumps(change))


def orphans():
    up()
    [state] = status()
    kennet.environment["KENNET_BOOTSTRAP"] = state["bootstrap"]
    for topic in ("claimed", "retained", "doomed"):
        kennet.run("topics", "create", topic)
        own(state, topic, "claim")
    own(state, "retained", "release")
    own(state, "doomed", "scheduleDeletion", deleteAtMs=4_000_000_000_000)
    expected = {"retained": (None, None), "doomed": ("object", "2096-10-02T07:06:40Z")}
    shape = lambda rows: {one["topic"]: (one["owner"] and one["owner"]["name"], one["deleteAt"]) for one in rows}
    listed = kennet.json("topics", "list", "--orphaned")
    # the file looks after its own
    equal(shape(listed), expected)
    assert "DELETES AT" in kennet.run("topics", "list", "--orphaned").decode()
    ids = {one["topic"]: one["topicId"] for one in kennet.json("topics", "list")}
    equal({one["topic"]: one["topicId"] for one in listed}, {name: ids[name] for name in expected})
    port = int(state["bootstrap"].rsplit(":", 1)[1]) + 7
    # whose file is not known here
    expected["events"] = (None, None)
    asked = ["topics", "list", "--orphaned", "--management", f"localhost:{port}", "--certificates"]
    equal(shape(kennet.json(*asked, os.path.join(state["folder"], "tls"))), expected)
    # a broker may look too: its certificates are what there is in a pod
    pod = os.path.join(folder, "pod")
    os.makedirs(pod)
    for own_name, name in (("ca.crt", "ca.crt"), ("broker.crt", "0.crt"), ("broker.key", "0.key")):
        shutil.copy(os.path.join(folder, state["folder"], "tls", own_name), os.path.join(pod, name))
    equal(shape(kennet.json(*asked, pod)), expected)
    kennet.refused(2, "--management", "topics", "list", "--orphaned", "--bootstrap", "127.0.0.1:1")
    kennet.refused(2, "--certificates", *asked[:5])
    kennet.refused(1, "none-such", *asked, "none-such")
    kennet.run("topics", "delete", "claimed", "retained", "doomed")
    kennet.run("dev", "down")
    kennet.refused(2, "--management", "topics", "list", "--orphaned")


def a_broker_that_hangs():
    """The first Ctrl-C waits for acknowledgements, the second does not."""
    up()
    yes = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    writer = kennet.start("produce", "events", "--bootstrap", address(), stdin=yes.stdout)
    yes.stdout.close()
    until(10, lambda: catches_interrupts(writer.pid), "the writer is at work")
    time.sleep(0.5)
    os.kill(broker(), signal.SIGSTOP)
    try:
        time.sleep(0.5)
        writer.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert writer.poll() is None, "it did not wait"
        code, _, err = interrupt(writer)
    finally:
        os.kill(broker(), signal.SIGCONT)
    assert code == 1 and "not acknowledged" in err, f"exit {code}: {err}"
    kennet.run("dev", "down")
    yes.wait(timeout=10)


def slow_start():
    """A broker that takes longer than a second: a terminal shows it, a pipe does not."""
    slow = os.path.join(folder, "slow")
    os.makedirs(slow)
    own = os.path.join(os.path.dirname(kennet.program), "kennet-broker")
    with open(os.path.join(slow, "kennet-broker"), "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nsleep 2\nexec {own} "$@"\n')
    os.chmod(os.path.join(slow, "kennet-broker"), 0o755)
    # a program finds its broker beside itself first
    shutil.copy(kennet.program, os.path.join(slow, "copy"))
    late = Kennet(os.path.join(slow, "copy"), folder=folder)
    terminal = late.terminal("dev", "up", "-f", quickstart)
    running.append(terminal.process)
    until(30, serving, "a cluster that serves")
    code, shown = terminal.interrupted()
    assert code == 0 and "the broker starts, " in shown, repr(shown)
    process = late.start("dev", "up", "-f", quickstart)
    running.append(process)
    until(30, serving, "a cluster that serves")
    code, _, err = interrupt(process)
    equal((code, "starts" in err), (0, False))


def damaged_journal():
    """A broker that stays up only to say what is damaged is not waited for."""
    home = os.path.join(folder, "damaged")
    os.makedirs(home)
    other = Kennet(kennet.program, folder=home)
    process = up(by=other)
    [state] = other.json("dev", "status")
    other.environment["KENNET_BOOTSTRAP"] = state["bootstrap"]
    for value in (b"needle", b"behind it", b"and more"):
        other.run("produce", "events", stdin=value + b"\n")
    with open(os.path.join(home, state["folder"], "dev.json"), encoding="utf-8") as file:
        os.kill(json.load(file)["broker"]["pid"], signal.SIGKILL)
    process.communicate(timeout=30)
    data = os.path.join(home, state["folder"], "data")
    journal = os.path.join(data, "journal", "00000000")
    with open(journal, "r+b") as file:
        at = file.read().find(b"needle")
        assert at > 0, "the record is not in the journal"
        file.seek(at)
        file.write(b"\xff" * 6)
    start = time.monotonic()
    code, _, err = other.end("dev", "up", "-f", quickstart)
    assert code == 4 and time.monotonic() - start < 20, f"exit {code} after {time.monotonic() - start} s: {err}"
    assert "is damaged" in err and f"kennet-broker verify {data}" in err, err
    equal(err.count("\n"), 1)
    equal([one["state"] for one in other.json("dev", "status")], ["Stopped"])


def keys_are_private():
    [one] = status()
    tls = os.path.join(folder, one["folder"], "tls")
    keys = [name for name in os.listdir(tls) if name.endswith(".key")]
    assert keys, "there are no keys"
    equal([oct(os.stat(os.path.join(tls, name)).st_mode & 0o777) for name in keys], ["0o600"] * len(keys))


try:
    step("a file brings up a cluster with its topics", comes_up)
    step("a second one beside it is refused", second_is_refused)
    step("keys are readable by this user only", keys_are_private)
    step("down stops it, twice does no harm", goes_down)
    step("data stays, Ctrl-C ends it", data_stays)
    step("a killed supervisor leaves nothing that down does not end", killed_supervisor)
    step("a stray file beside the clusters does no harm", stray_files)
    step("a broker that is killed is told by its signal", killed_broker)
    step("a slow stop says what it waits for", slow_down)
    step("a grown topic is grown", grown)
    step("a wrong file is refused with its field", wrong_manifests)
    step("a taken port is refused", taken_ports)
    step("the data of another cluster is refused", foreign_data)
    step("topics without an owner are listed", orphans)
    step("an offline partition does not hide the others", an_offline_partition)
    step("a second Ctrl-C does not wait for a broker that hangs", a_broker_that_hangs)
    step("a slow start shows on a terminal", slow_start)
    step("a damaged journal ends it at once with the reason", damaged_journal)
    step("readers end without a reader or a broker", readers_end)
finally:
    kennet.end("dev", "down")
    for process in running:
        if process.poll() is None:
            process.kill()
