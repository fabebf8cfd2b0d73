"""How the drivers of this suite call `kennet` and tell of steps."""

import json
import os
import pty
import signal
import subprocess
import time
import traceback


class Kennet:
    """The program with an environment of its own: nothing of the user's reaches it."""

    def __init__(self, program, bootstrap=None, folder=None):
        self.program, self.folder = program, folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "xterm"}
        if bootstrap:
            self.environment["KENNET_BOOTSTRAP"] = bootstrap

    def start(self, *arguments, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([self.program, *arguments], env=self.environment, cwd=self.folder, **options)

    def terminal(self, *arguments, **options):
        return Terminal(self, arguments, options)

    def end(self, *arguments, stdin=b""):
        """Exit code, standard output, standard error."""
        done = subprocess.run(
            [self.program, *arguments], input=stdin, capture_output=True, timeout=60, env=self.environment, cwd=self.folder
        )
        return done.returncode, done.stdout, done.stderr.decode()

    def run(self, *arguments, stdin=b""):
        """Standard output of a command that must succeed."""
        code, out, err = self.end(*arguments, stdin=stdin)
        assert code == 0, f"kennet {' '.join(arguments)}: exit {code}: {err.strip()}"
        return out

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--output", "json"))

    def refused(self, code, words, *arguments, stdin=b""):
        """A command that must fail with this code and one sentence that contains the words."""
        found, _, err = self.end(*arguments, stdin=stdin)
        assert found == code, f"kennet {' '.join(arguments)}: exit {found}, expected {code}: {err.strip()}"
        assert words in err, f"'{words}' is not in: {err.strip()}"
        assert "panicked" not in err, err


class Terminal:
    """A command on a terminal of its own, except for the streams that are given."""

    def __init__(self, kennet, arguments, options):
        self.ours, theirs = pty.openpty()
        for stream in ("stdin", "stdout", "stderr"):
            options.setdefault(stream, theirs)
        self.process = kennet.start(*arguments, **options)
        os.close(theirs)

    def interrupted(self):
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self):
        """Exit code and all that was shown; a terminal that nobody holds any more reads as an error."""
        shown = b""
        try:
            while more := os.read(self.ours, 1 << 16):
                shown += more
        except OSError:
            pass
        os.close(self.ours)
        return self.process.wait(timeout=30), shown.decode()


def step(name, body):
    try:
        body()
        print(f"ok {name}", flush=True)
    except Exception as error:  # whatever it is, it is this step's
        if not isinstance(error, AssertionError):
            traceback.print_exc()
        print(f"not {name}: {type(error).__name__}: {str(error)[:400]}".replace("\n", " "), flush=True)


def equal(found, expected):
    assert found == expected, f"found {str(found)[:180]}, expected {str(expected)[:180]}"


def until(seconds, condition, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def catches_interrupts(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        [mask] = [line.split()[1] for line in file if line.startswith("SigCgt")]
    return bool(int(mask, 16) & 1 << signal.SIGINT - 1)


def interrupt(process):
    """Ctrl-C; exit code, output, errors."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err.decode()
