"""What a process and the machine have used, from /proc. Counters only grow; a row is the difference of two readings."""

import os

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


def cpu_seconds(pid):
    """User and system time of the process and all its threads. The kernel scales the ticks to the scheduler's own sum, so 10 ms is the error."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def status_mib(pid):
    """Resident memory now, and the most there was."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    return {key: int(lines[name].split()[0]) / 1024 for key, name in (("rss_mib", "VmRSS"), ("rss_max_mib", "VmHWM"))}


def written_bytes(pid):
    """Bytes that the process caused to be written: when a cached page becomes dirty, or a direct write is made."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(dict(line.split(":") for line in file)["write_bytes"])


def read_bytes(pid):
    """Bytes that the process caused to be read from a disk, read ahead or not."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(dict(line.split(":") for line in file)["read_bytes"])


def machine_seconds():
    """CPU time of the whole machine: busy, all."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, idle, iowait, irq, softirq, steal = (int(n) for n in file.readline().split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    return busy / TICK, (busy + idle + iowait) / TICK


def free_mib():
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("MemFree")).split()[1]) / 1024


class Usage:
    """Readings of a broker and the machine; `since` gives the differences to an earlier one."""

    def __init__(self, pid):
        self.pid = pid
        self.cpu, self.written, self.machine = cpu_seconds(pid), written_bytes(pid), machine_seconds()

    def since(self, before):
        busy, everything = (now - then for now, then in zip(self.machine, before.machine))
        return {
            "broker_cpu_s": round(self.cpu - before.cpu, 2),
            "written_bytes": self.written - before.written,
            "machine_busy": round(busy / everything, 3) if everything else 0.0,
            **{name: round(value, 1) for name, value in status_mib(self.pid).items()},
        }
