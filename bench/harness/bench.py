"""What a cell may use: the sizes of this run, the brokers, the programs that make load. Every program has a time limit."""

import contextlib
import json
import os
import subprocess
import sys

from harness.brokers import Broker, Failed

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)
PROGRAM_SECONDS = 300


class Bench:
    def __init__(self, folder, quick, scale, page_cache):
        self.folder, self.quick, self.factor, self.page_cache = folder, quick, scale, page_cache
        self.brokers, self.kept, self.volume = {}, {}, None
        # what must not be left behind: groups, mounts
        self.undo = contextlib.ExitStack()

    def size(self, full, quick, least=1):
        """A number of the row: that of the full or the quick run, times BENCH_SCALE."""
        return max(least, int((quick if self.quick else full) * self.factor))

    def broker(self, name, folder):
        """A broker beside the two that run all the time; stopped at the end at the latest."""
        made = Broker(name, ROOT, os.path.join(self.folder, folder, name))
        self.kept[folder, name] = made
        return made

    def stop(self, kept):
        for broker in kept:
            try:
                broker.down()
            except OSError as error:
                print(f"  {broker.name}: {error}", file=sys.stderr)

    def load(self, mode, broker, topic, **options):
        """The raw client in bench/load."""
        arguments = [str(part) for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        return json.loads(run([os.environ["BENCH_LOAD"], mode, broker.bootstrap, topic, *arguments]))

    def wake(self, rate, seconds):
        """How late a thread wakes that does nothing else: what the machine itself adds to a latency."""
        told = json.loads(run([os.environ["BENCH_LOAD"], "wake", "--rate", str(rate), "--seconds", str(seconds)]))
        return {f"wake_{key}": value for key, value in told.items()}

    def client(self, script, *arguments):
        """A librdkafka client in bench/clients."""
        return json.loads(run([sys.executable, os.path.join(HERE, "clients", script), *map(str, arguments)]))

    def java(self, tool, *arguments):
        """A performance tool of Apache Kafka."""
        logging = os.path.join(ROOT, "tests/kafka/log4j2.properties")
        command = ["java", "-Xmx512M", f"-Dlog4j2.configurationFile={logging}", "-cp", os.environ["KAFKA_LIBS"] + "/*"]
        return run([*command, f"org.apache.kafka.tools.{tool}", *map(str, arguments)])


def run(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{os.path.basename(command[0])} did not end in {PROGRAM_SECONDS} s") from error
    if done.returncode != 0:
        raise Failed(f"{os.path.basename(command[0])}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout
