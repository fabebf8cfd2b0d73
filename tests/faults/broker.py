"""A broker process, what it says of itself, and what is done to it from outside."""

import os
import re
import signal
import subprocess
import time
import urllib.request

from volume import Skip

HERE = os.path.dirname(os.path.abspath(__file__))
UP = f"{HERE}/../broker/up"


def until(seconds, condition, what):
    """Waits for a condition, and returns what it came to."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return found


def alive(pid):
    """Whether any thread of it is there: the first one is often a zombie already while others still hold ports and files."""
    try:
        return any(state(f"/proc/{pid}/task/{thread}") not in "ZX" for thread in os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return False


def state(task):
    try:
        with open(f"{task}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


class Broker:
    """A broker in a process of its own. `with` starts it and kills it at the end; its folder keeps certificates, ports and what it logs."""

    program = None

    def __init__(self, folder, data, memory=64 << 20, before="", **configs):
        """`before` is run by the shell that becomes the broker."""
        self.folder, self.data = folder, data
        os.makedirs(folder, exist_ok=True)
        self.environment = {**os.environ, "DATA": data, "MEMORY": str(memory or ""), "KENNET_BROKER": self.program}
        if before:
            wrapper = f"{folder}/kennet-broker"
            with open(wrapper, "w", encoding="ascii") as file:
                file.write(f'#!/bin/sh\n{before}\nexec "{self.program}" "$@"\n')
            os.chmod(wrapper, 0o755)
            self.environment["KENNET_BROKER"] = wrapper
        self.configs = [f"{key.replace('_', '.')}={value}" for key, value in configs.items()]

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def up(self, keep=False):
        """Starts it, on the data and ports that are there or on new ones; returns the seconds until it was ready."""
        environment = {**self.environment, **({"KEEP": "1"} if keep else {})}
        started = time.monotonic()
        done = subprocess.run([UP, self.folder, *self.configs], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"the broker does not start: {done.stderr.strip()[-400:]}"
        return time.monotonic() - started

    def again(self):
        return self.up(keep=True)

    def refuses(self):
        """The last line of a start that must fail."""
        done = subprocess.run(
            [self.program, "--config", f"{self.folder}/broker.toml"], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 4, f"exit {done.returncode}, expected 4: {done.stderr[-300:]}"
        return done.stderr.strip().splitlines()[-1]

    @property
    def pid(self):
        with open(f"{self.folder}/pid", encoding="ascii") as file:
            return int(file.read())

    @property
    def bootstrap(self):
        with open(f"{self.folder}/bootstrap", encoding="ascii") as file:
            return file.read().strip()

    def is_alive(self):
        return alive(self.pid)

    def kill(self):
        self.signal(signal.SIGKILL)

    def stop(self):
        self.signal(signal.SIGTERM)

    def signal(self, number):
        if not os.path.exists(f"{self.folder}/pid"):
            return
        pid = self.pid
        if alive(pid):
            os.kill(pid, number)
            until(15, lambda: not alive(pid), f"the broker ends by {signal.Signals(number).name}")

    def metric(self, name):
        with open(f"{self.folder}/ports", encoding="ascii") as file:
            ports = dict(line.strip().split("=") for line in file)
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['metrics']}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])

    def has_failed(self):
        return self.metric("kennet_broker_disk_failed") == 1

    def memory_max(self):
        """The most that it ever had in memory, in bytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) << 10

    def logged(self):
        with open(f"{self.folder}/broker.log", encoding="utf-8", errors="replace") as file:
            return file.read()


class Injection:
    """strace on a broker: one system call of a kind fails with EIO. Calls are counted by thread."""

    def __init__(self, work, broker, call, when):
        os.makedirs(f"{work}/pids", exist_ok=True)
        self.call, self.output = call, f"{broker.folder}/strace-{call}"
        arguments = ["strace", "-f", "-o", self.output, "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={when}"]
        try:
            self.process = subprocess.Popen(
                [*arguments, "-p", str(broker.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        except FileNotFoundError as error:
            raise Skip("strace is not installed") from error
        with open(f"{work}/pids/strace-{self.process.pid}", "w", encoding="ascii") as file:
            file.write(str(self.process.pid))
        # it says so before it has the threads, which it takes at once
        said = self.process.stderr.readline()
        if "attached" not in said:
            self.process.wait(timeout=10)
            raise Skip(f"strace can't attach: {said.strip()}")

    def happened(self):
        with open(self.output, encoding="utf-8", errors="replace") as file:
            return "(INJECTED)" in file.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # it ends with its process, and lets go of it when it is told to end
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=10)
        self.process.stderr.close()


class Cgroup:
    """A cgroup with one limit, of version 1 or 2; `join` is what a shell runs to be in it."""

    ROOT = "/sys/fs/cgroup"

    def __init__(self, work, old, new):
        """`old` and `new` are the controllers in version 1 and 2."""
        name = f"kennet-faults-{os.getpid()}"
        self.is_new = os.path.exists(f"{self.ROOT}/cgroup.controllers")
        self.path = f"{self.ROOT}/{name}-{new}" if self.is_new else f"{self.ROOT}/{old}/{name}"
        try:
            if self.is_new:
                with open(f"{self.ROOT}/cgroup.subtree_control", "w", encoding="ascii") as file:
                    file.write(f"+{new}")
            os.mkdir(self.path)
        except OSError as error:
            raise Skip(f"there is no cgroup with the controller {new if self.is_new else old}: {error}") from error
        os.makedirs(f"{work}/cgroups", exist_ok=True)
        with open(f"{work}/cgroups/{new}", "w", encoding="ascii") as file:
            file.write(self.path)
        self.join = f"echo $$ > {self.path}/cgroup.procs"

    def set(self, file, value):
        try:
            with open(f"{self.path}/{file}", "w", encoding="ascii") as limit:
                limit.write(value)
        except OSError as error:
            raise Skip(f"{self.path}/{file} can't be set: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # the kernel needs a moment to see that its last process has gone
        for _ in range(100):
            try:
                return os.rmdir(self.path)
            except OSError:
                time.sleep(0.05)
