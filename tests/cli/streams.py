"""What happens at a command's ends: Ctrl-C, closed pipes, a terminal. ARGV[1] is the program, ARGV[2] the broker."""

import json
import os
import subprocess
import sys
import time

from kennet import Kennet, catches_interrupts, equal, interrupt, step, until

program, bootstrap = sys.argv[1:]
kennet = Kennet(program, bootstrap)


def records(topic):
    [described] = kennet.json("topics", "describe", topic)
    return sum(one["endOffset"] for one in described["partitions"])


def floods_end():
    """`yes | kennet produce`: Ctrl-C ends it whatever it is doing, and what it says it wrote is there."""
    kennet.run("topics", "create", "flood")
    before = 0
    for wait in (0, 0.3, 1):
        yes = subprocess.Popen(["yes", "x" * 100], stdout=subprocess.PIPE)
        writer = kennet.start("produce", "flood", stdin=yes.stdout)
        yes.stdout.close()
        until(10, lambda: catches_interrupts(writer.pid), "the writer is at work")
        time.sleep(wait)
        code, _, err = interrupt(writer)
        yes.wait(timeout=10)
        after = records("flood")
        equal((code, err), (0, f"{after - before} records written to flood\n"))
        before = after
    assert before > 0, "nothing was written"


def quiet_ends():
    kennet.run("topics", "create", "quiet")
    kennet.run("produce", "quiet", stdin=b"some line\n" * 100_000)
    reader = kennet.start("consume", "quiet", "--from-beginning")
    equal(len(reader.stdout.readline()) > 0, True)
    reader.stdout.close()
    equal((reader.wait(timeout=30), reader.stderr.read()), (0, b""))
    reader.stderr.close()
    waiting = kennet.start("consume", "quiet", stdout=subprocess.DEVNULL)
    until(10, lambda: catches_interrupts(waiting.pid), "the reader is at work")
    equal(interrupt(waiting)[0::2], (0, ""))


def nobody_reads_errors():
    """`2>&1 | head`: the exit code is the command's own."""
    for code, arguments in [
        (1, ["topics", "describe", "none-such"]),
        (2, ["topics", "alter", "quiet"]),
        (2, ["topics", "none-such"]),
        (0, ["produce", "quiet"]),
    ]:
        ours, theirs = os.pipe()
        os.close(ours)
        process = kennet.start(*arguments, stdin=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        process.stdout.close()
        equal((arguments, process.wait(timeout=60)), (arguments, code))


def slowly(process):
    """Lines for longer than progress stays silent."""
    for _ in range(8):
        process.stdin.write(b"line\n")
        process.stdin.flush()
        time.sleep(0.25)
    process.stdin.close()


def progress_on_a_terminal():
    kennet.run("topics", "create", "slow")
    terminal = kennet.terminal("produce", "slow", stdin=subprocess.PIPE)
    slowly(terminal.process)
    code, shown = terminal.end()
    assert "records written, " in shown and "8 records written to slow" in shown, repr(shown)
    equal(code, 0)
    # records on the terminal are progress enough
    terminal = kennet.terminal("consume", "slow", "--from-beginning")
    time.sleep(2)
    code, shown = terminal.interrupted()
    equal((code, shown.split()), (0, ["line"] * 8))
    terminal = kennet.terminal("consume", "slow", "--from-beginning", stdout=subprocess.DEVNULL)
    time.sleep(2)
    code, shown = terminal.interrupted()
    assert "8 records read, " in shown, repr(shown)
    equal(code, 0)


def no_progress_in_a_pipe():
    writer = kennet.start("produce", "slow", stdin=subprocess.PIPE)
    slowly(writer)
    equal((writer.wait(timeout=30), writer.stderr.read()), (0, b"8 records written to slow\n"))


def failures_say_what_was_written():
    """Lines before one that is no record are all written, and none behind it; one that is too large is named."""
    kennet.run("topics", "create", "half")
    good = b"".join(b"k:%d\n" % number for number in range(50_000))
    code, _, err = kennet.end("produce", "half", "--key-separator", ":", "-o", "json", stdin=good + b"bad\nk:behind\n")
    told = json.loads(err)
    equal((code, told["records"], told["line"], records("half")), (1, 50_000, 50_001, 50_000))
    assert told["error"].startswith("50000 records are written; line 50001: no ':'"), told
    # a record beyond the default of max.message.bytes; what was on its way behind it is written or counted
    lines = [b"x" * 100] * 1000
    lines[700] = b"y" * 3_000_000
    code, _, err = kennet.end("produce", "half", "-o", "json", stdin=b"\n".join(lines) + b"\n")
    told = json.loads(err)
    equal((code, told["line"], records("half") - 50_000), (1, 701, told["records"]))
    equal((told["records"], told["refused"], told["unknown"]), (999, 0, 0))
    # where only small batches are taken, a record that is too large is still told from those around it
    kennet.run("topics", "create", "tiny", "--partitions", "1", "--config", "max.message.bytes=1000")
    lines = [b"%d" % number for number in range(2000)]
    lines[1300] = b"y" * 1200
    code, _, err = kennet.end("produce", "tiny", "-o", "json", stdin=b"\n".join(lines) + b"\n")
    told = json.loads(err)
    equal((code, told["line"], told["records"], told["refused"], records("tiny")), (1, 1301, 1999, 0, 1999))
    read = kennet.run("consume", "tiny", "--from-beginning", "--to-end").split()
    equal(read, lines[:1300] + lines[1301:])
    code, _, err = kennet.end("produce", "half", "--json", stdin=b'{"value":"a"}\n{"valeu":1}\n')
    assert code == 1 and "1 record is written; line 2: column 8: unknown field" in err and " at line " not in err, err


step("Ctrl-C ends a writer whose input does not end", floods_end)
step("a writer that fails says what it wrote", failures_say_what_was_written)
step("a broken pipe and Ctrl-C end a reader quietly", quiet_ends)
step("a closed standard error changes no exit code", nobody_reads_errors)
step("progress shows on a terminal after a second", progress_on_a_terminal)
step("progress does not show in a pipe", no_progress_in_a_pipe)
