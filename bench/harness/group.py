"""Control groups of version 1 or 2 with one limit: of a broker's memory, or of what is written to a device. Removed at the end of the run."""

import os
import time

from harness.brokers import Skipped

ROOT = "/sys/fs/cgroup"
MIB = 1 << 20


def is_new():
    return os.path.exists(f"{ROOT}/cgroup.controllers")


def write(path, text):
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise Skipped(f"{path} can't be set to {text}: {error.strerror}") from error


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


class Group:
    """A new group. A process that writes its pid to `processes` is in it."""

    def __init__(self, bench, name, old, new):
        """`old` and `new` are the controller's names in version 1 and 2."""
        self.path = f"{ROOT}/{'' if is_new() else old + '/'}kennet-bench-{os.getpid()}-{name}"
        if is_new():
            write(f"{ROOT}/cgroup.subtree_control", f"+{new}")
        try:
            os.mkdir(self.path)
        except OSError as error:
            raise Skipped(f"there is no control group for {new}: {error.strerror}") from error
        self.processes = f"{self.path}/cgroup.procs"
        bench.undo.callback(self.remove)

    def remove(self):
        # the kernel needs a moment to see that its last process has gone
        for _ in range(100):
            try:
                return os.rmdir(self.path)
            except FileNotFoundError:
                return None
            except OSError:
                time.sleep(0.05)


class Memory(Group):
    """A group whose memory has a limit: what its processes allocate, the kernel's memory for them, and the pages of files that they touch first."""

    def __init__(self, bench, mebibytes):
        super().__init__(bench, f"memory-{mebibytes}", "memory", "memory")
        limits = ("memory.max", "memory.swap.max") if is_new() else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        write(f"{self.path}/{limits[0]}", str(mebibytes * MIB))
        # not there without swap; version 1 limits the sum of both
        if os.path.exists(f"{self.path}/{limits[1]}"):
            write(f"{self.path}/{limits[1]}", "0" if is_new() else str(mebibytes * MIB))

    def peak_mib(self):
        return round(int(read(f"{self.path}/{'memory.peak' if is_new() else 'memory.max_usage_in_bytes'}")) / MIB, 1)

    def kills(self):
        """Processes that the kernel has killed for the limit."""
        lines = read(f"{self.path}/{'memory.events' if is_new() else 'memory.oom_control'}").splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])


class WriteCap:
    """So many bytes a second may be written to a device, from `set` on.

    Version 2 limits the broker's group, and the kernel's write-back of its pages counts. Version 1 does not know whose pages it writes back; there
    the root group gets the limit, in which the kernel's threads are, and the device must be nobody else's.
    """

    def __init__(self, bench, device):
        """`device` is major:minor."""
        self.device, self.group = device, Group(bench, "io", "blkio", "io") if is_new() else None
        self.processes = self.group.processes if self.group else f"{ROOT}/blkio/cgroup.procs"
        if not os.path.exists(self.processes):
            raise Skipped("there is no control group that limits writes")

    def set(self, bytes_per_second):
        if self.group:
            write(f"{self.group.path}/io.max", f"{self.device} wbps={bytes_per_second}")
        else:
            write(f"{ROOT}/blkio/blkio.throttle.write_bps_device", f"{self.device} {bytes_per_second}")

    def remove(self):
        if self.group:
            self.group.remove()
        else:
            self.set(0)
