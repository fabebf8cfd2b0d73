"""How fast a broker starts and what it needs at rest: start.py PROGRAM FOLDER, the folder made by tests/broker/up.

Prints two lines: milliseconds from fork to the first answer to a Metadata request (min / median / max of ten), and resident memory.
"""

import socket
import statistics
import struct
import subprocess
import sys
import time

RUNS = 10
LIMIT_S = 20
# Metadata, version 4, all topics, none created
REQUEST = struct.pack(">hhih", 3, 4, 1, -1) + struct.pack(">ib", -1, 0)


def answered(address):
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(struct.pack(">i", len(REQUEST)) + REQUEST)
        head = connection.recv(8, socket.MSG_WAITALL)
        return len(head) == 8 and struct.unpack(">ii", head)[1] == 1


def start(program, folder, address):
    """The process, and the seconds until its answer."""
    with open(f"{folder}/broker.log", "ab") as log:
        began = time.monotonic()
        process = subprocess.Popen([program, "--config", "broker.toml"], cwd=folder, stdout=log, stderr=log)
    while time.monotonic() - began < LIMIT_S and process.poll() is None:
        try:
            if answered(address):
                return process, time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.001)
    process.kill()
    sys.exit("the broker gave no answer")


def main():
    program, folder = sys.argv[1:]
    with open(f"{folder}/bootstrap", encoding="ascii") as file:
        host, port = file.read().strip().rsplit(":", 1)
    times = []
    for run in range(RUNS):
        process, seconds = start(program, folder, (host, int(port)))
        times.append(seconds * 1000)
        if run == RUNS - 1:
            time.sleep(10)
            with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                kib = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        process.terminate()
        process.wait()
    print(f"{min(times):.0f} / {statistics.median(times):.0f} / {max(times):.0f} ms")
    print(f"{kib / 1024:.1f} MiB")


main()
