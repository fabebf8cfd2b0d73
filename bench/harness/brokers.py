"""The two brokers: started by the scripts of tests/, stopped by their pid, started again with the command line that they had."""

import os
import signal
import socket
import struct
import subprocess
import time

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

UP_SECONDS = 60
START_SECONDS = 180
# Metadata, version 4, no topics: the answer is throttle time, then the brokers
METADATA = struct.pack(">hhih", 3, 4, 1, -1) + struct.pack(">ib", 0, 0)


class Failed(Exception):
    """A cell or a broker that did not do what was expected; the run goes on."""


class Skipped(Exception):
    """What this machine can't do; the message says why."""


# what a shell runs before it becomes the broker
JOIN = 'echo $$ > "$0" && exec "$@"'


class Broker:
    """One broker and its folder. `name` is the column of the tables."""

    def __init__(self, name, root, folder):
        self.name, self.root, self.folder = name, root, folder
        self.pid, self.command, self.child = None, None, None

    def up(self):
        script = {"kennet": "tests/broker/up", "kafka": "tests/kafka/up"}[self.name]
        os.makedirs(self.folder, exist_ok=True)
        done = subprocess.run(["bash", os.path.join(self.root, script), self.folder], capture_output=True, text=True, timeout=UP_SECONDS, check=False)
        self.pid = self.told_pid()
        if done.returncode != 0:
            self.kill()
            raise Failed(f"{self.name} does not start: {done.stderr.strip()[-300:]}")
        with open(f"/proc/{self.pid}/cmdline", encoding="utf-8") as file:
            self.command = file.read().rstrip("\0").split("\0")
        self.wait(time.monotonic())
        return self

    def told_pid(self):
        try:
            with open(os.path.join(self.folder, "pid"), encoding="ascii") as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def bootstrap(self):
        with open(os.path.join(self.folder, "bootstrap"), encoding="ascii") as file:
            return file.read().strip()

    def again(self, group=None):
        """Starts it on the data that is there: seconds from the process's start to the first Metadata answer that lists a broker. `group` is the
        process file of a control group that it is in from its first byte on."""
        command = ["sh", "-c", JOIN, group, *self.command] if group else self.command
        with open(os.path.join(self.folder, "again.log"), "ab") as log:
            began = time.monotonic()
            # pylint: disable-next=consider-using-with
            self.child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.pid = self.child.pid
        return self.wait(began)

    def wait(self, began):
        host, port = self.bootstrap.rsplit(":", 1)
        while time.monotonic() - began < START_SECONDS:
            if self.child is not None and self.child.poll() is not None:
                raise Failed(f"{self.name} ended with {self.child.returncode}")
            if lists_a_broker((host, int(port))):
                return time.monotonic() - began
            time.sleep(0.001 if time.monotonic() - began < 1 else 0.005)
        raise Failed(f"{self.name} gave no answer in {START_SECONDS} s")

    def kill(self):
        self.end(signal.SIGKILL, 10)

    def down(self):
        self.end(signal.SIGTERM, 60)

    def end(self, how, seconds):
        if self.pid is None:
            return
        for number in (how, signal.SIGKILL):
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                break
            if self.gone(seconds):
                break
        self.pid, self.child = None, None

    def gone(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child is not None:
                if self.child.poll() is not None:
                    return True
            elif not alive(self.pid):
                return True
            time.sleep(0.01)
        return False

    # Topics

    def admin(self):
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def create(self, topics, config=None):
        """Topics by name and number of partitions; returns when every partition has a leader."""
        admin = self.admin()
        wanted = [NewTopic(name, partitions, 1, config=config or {}) for name, partitions in topics.items()]
        for future in admin.create_topics(wanted, operation_timeout=60, request_timeout=90).values():
            future.result(120)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            seen = admin.list_topics(timeout=30).topics
            if all(name in seen and sum(p.leader >= 0 for p in seen[name].partitions.values()) == count for name, count in topics.items()):
                break
            time.sleep(0.1)
        # metadata names a leader a moment before Kafka's leader takes requests (NOT_LEADER_OR_FOLLOWER)
        asked = {TopicPartition(name, number): OffsetSpec.latest() for name, count in topics.items() for number in range(count)}
        while time.monotonic() < end:
            try:
                for future in admin.list_offsets(asked, request_timeout=30).values():
                    future.result(60)
                return
            except KafkaException:
                time.sleep(0.2)
        raise Failed(f"{self.name}: topics have no leaders after 60 s")

    def delete(self, topics):
        # the client must live as long as its futures
        admin = self.admin()
        for future in admin.delete_topics(list(topics), operation_timeout=60, request_timeout=90).values():
            future.result(120)


def alive(pid):
    """Whether there is such a process that has not ended; one that nobody has waited for has, but only with its last thread: until then its files
    are open and its locks held."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ended = file.read().rsplit(")", 1)[1].split()[0] in ("Z", "X")
        return not ended or len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def lists_a_broker(address):
    try:
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(METADATA)) + METADATA)
            head = connection.recv(16, socket.MSG_WAITALL)
            return len(head) == 16 and struct.unpack(">iiii", head)[3] > 0
    except OSError:
        return False
