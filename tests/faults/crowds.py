"""Rows of bad input that take a crowd: ten thousand connections that are idle, half-open or silent, and more than there may be."""

import os
import resource
import select
import socket
import struct
import time

from broker import Broker, Cgroup, until
from load import Load, create
from volume import Skip

# the defaults: in all, and of one address
CONNECTIONS_MAX, EACH_MAX = 10_000, 2_000
IDLE_KIB_MAX = 10
# a sender that is slower than 64 KiB/s is closed after five seconds; the rest is for machines that do other things as well
CLOSED_WITHIN = 20
API_VERSIONS = struct.pack(">hhih", 18, 0, 7, -1)


def frame(content):
    return struct.pack(">i", len(content)) + content


def connected_from(broker, address):
    """A connection from one of the addresses that the loopback has many of."""
    host, port = broker.bootstrap.split(":")
    connection = socket.socket()
    connection.settimeout(20)
    connection.bind((address, 0))
    connection.connect((host, int(port)))
    return connection


def answered(connection):
    """Whether an ApiVersions request is answered; False when the broker has closed the connection."""
    try:
        connection.sendall(frame(API_VERSIONS))
        length = connection.recv(4, socket.MSG_WAITALL)
        if not length:
            return False
        answer = connection.recv(struct.unpack(">i", length)[0], socket.MSG_WAITALL)
    except (ConnectionResetError, BrokenPipeError):
        return False
    assert answer[:4] == struct.pack(">i", 7), f"the answer begins with {answer[:8]!r}"
    return True


def are_closed(connections):
    """Those of them that the broker has closed: they can be read, and there is nothing. None of them has an answer to come."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection.fileno(), select.POLLIN)
    return [number for number, _ in poll.poll(0)]


def resident_kib(broker):
    with open(f"/proc/{broker.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def connections(place):
    """10 000 connections: who is idle costs little and stays, who sends half a request goes, and one more than there may be is refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS_MAX + 1_000
    if hard < needed:
        raise Skip(f"{hard} open files are allowed, and {needed} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    crowd = []
    try:
        # with so much memory as many connections as max.connections says
        with Broker(place.folder, f"{place.ram}/data", 2 << 30, before=f"ulimit -n {hard}") as broker:
            create(broker, "t", 3)
            # the first ones pay for what the broker keeps anyway
            crowd += [connected_from(broker, "127.0.1.7") for _ in range(100)]
            assert all(answered(connection) for connection in crowd)
            before = resident_kib(broker)
            # as fast as the kernel takes them
            idle = [connected_from(broker, "127.0.1.1") for _ in range(EACH_MAX)]
            crowd += idle
            assert all(answered(connection) for connection in idle), "one within the limit is refused"
            crowd.append(connected_from(broker, "127.0.1.1"))
            assert not answered(crowd[-1]), f"connection {EACH_MAX + 1} of an address is taken"
            silent = [connected_from(broker, f"127.0.1.{2 + number // EACH_MAX}") for number in range(2 * EACH_MAX)]
            half = [connected_from(broker, f"127.0.1.{4 + number // EACH_MAX}") for number in range(2 * EACH_MAX - 200)]
            crowd += silent + half
            for connection in half:
                connection.sendall(frame(API_VERSIONS)[:9])
            number, grown = len(crowd) - 100, resident_kib(broker) - before
            assert grown < IDLE_KIB_MAX * number, f"{number} connections take {grown} KiB"
            with Load(broker) as load:
                worst = load.goes_on(200)
                beyond = [connected_from(broker, "127.0.1.6") for _ in range(400)]
                crowd += beyond
                refused = until(CLOSED_WITHIN, lambda: are_closed(beyond), "who is one too many is refused")
                assert len(refused) < len(beyond), "places that are free are not given"
                until(CLOSED_WITHIN, lambda: len(are_closed(half)) == len(half), "who sent half a request is closed")
                # their places are given again
                after = [connected_from(broker, "127.0.1.8") for _ in range(100)]
                crowd += after
                assert all(answered(connection) for connection in after), "a place that is free again is not given"
                assert not are_closed(silent), "who says nothing is closed before ten minutes"
                assert all(answered(connection) for connection in idle), "an idle connection was given up"
                load.goes_on(200)
                load.finish()
            records = load.check()
            assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
            peak = broker.memory_max() >> 20
    finally:
        for connection in crowd:
            connection.close()
    return f"{number} connections take {grown / number:.1f} KiB each, 200 of {records} records in {worst:.1f} s beside them, at most {peak} MiB"


def storm(place):
    """Connections that are closed as soon as they are made, for some seconds: who is connected is served, and nothing is left."""
    with Broker(place.folder, f"{place.ram}/data") as broker:
        create(broker, "t", 3)
        with Load(broker) as load:
            load.goes_on(200)
            files, made = open_files(broker), 0
            end = time.monotonic() + 3
            while time.monotonic() < end:
                connected_from(broker, f"127.0.2.{1 + made % 200}").close()
                made += 1
            worst = load.goes_on(200)
            until(CLOSED_WITHIN, lambda: open_files(broker) < files + 20, "what was closed is closed")
            load.finish()
        records = load.check()
        assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
    return f"{made} connections in 3 s, then 200 of {records} records in {worst:.1f} s"


def open_files(broker):
    return len(os.listdir(f"/proc/{broker.pid}/fd"))


def idle_in_a_small_pod(place):
    """As many connections as anybody likes, against a broker of 64 MiB: what there is no room for is refused, and it stays within its limit."""
    memory = 64 << 20
    with Cgroup(place.work, "memory", "memory") as group:
        group.set("memory.max" if group.is_new else "memory.limit_in_bytes", str(memory))
        with Broker(place.folder, f"{place.folder}/data", None, before=group.join) as broker:
            pid = broker.pid
            create(broker, "t", 3)
            crowd = []
            try:
                with Load(broker) as load:
                    load.goes_on(200)
                    for number in range(900):
                        crowd.append(connected_from(broker, f"127.0.3.{1 + number % 200}"))
                    taken = sum(answered(connection) for connection in crowd)
                    worst = load.goes_on(200)
                    load.finish()
            finally:
                for connection in crowd:
                    connection.close()
            assert broker.is_alive() and broker.pid == pid, "the broker was killed"
            assert 300 < taken < 420, f"{taken} connections are taken, and 409 are a sixteenth of 64 MiB"
            records = load.check()
            assert not load.failed, f"{len(load.failed)} records failed: {load.errors}"
            peak = broker.memory_max() >> 20
    return f"{taken} of {len(crowd)} connections are taken, 200 of {records} records in {worst:.1f} s beside them, at most {peak} of {memory >> 20} MiB"
