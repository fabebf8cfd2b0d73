"""A disk of our own: an ext4 in a loop device whose image is a file that is already written, on the disk that is measured."""

import ctypes
import os
import subprocess

from harness.brokers import Failed, Skipped
from harness.group import write

STEP = 4 << 20
# all tables are there before anything is measured, and nothing is discarded: the image keeps its blocks
MAKE = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0")


def command(*arguments):
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as error:
        raise Skipped(f"{arguments[0]} is not installed") from error
    if done.returncode != 0:
        raise Skipped(f"{' '.join(arguments)}: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


class Volume:
    """A loop device that is there until the end of the run or `close`; mounted anew, and empty, as often as wanted."""

    def __init__(self, bench, mebibytes):
        self.image, self.mounted, self.device = os.path.join(bench.folder, "volume"), None, None
        bench.undo.callback(self.close)
        with open(self.image, "wb", buffering=0) as file:
            for _ in range(0, mebibytes << 20, STEP):
                file.write(bytes(STEP))
            os.fsync(file.fileno())
        # past the page cache, so that a byte is written once, and when it is said to be
        self.device = command("losetup", "--find", "--show", "--direct-io=on", self.image)

    def number(self):
        """major:minor"""
        with open(f"/sys/block/{os.path.basename(self.device)}/dev", encoding="ascii") as file:
            return file.read().strip()

    def limit_dirty(self, mebibytes):
        """The most that the kernel keeps for it and has not written yet; whoever makes more waits for the disk."""
        folder = f"/sys/class/bdi/{self.number()}"
        write(f"{folder}/strict_limit", "1")
        write(f"{folder}/max_bytes", str(mebibytes << 20))

    def mount(self, folder):
        self.unmount()
        command(*MAKE, self.device)
        os.makedirs(folder, exist_ok=True)
        command("mount", "-o", "noatime", self.device, folder)
        self.mounted = folder

    def sync(self):
        """Returns when all that was written to it is on it."""
        folder = os.open(self.mounted, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(folder) != 0:
                raise Failed(f"syncfs: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(folder)

    def unmount(self):
        if self.mounted:
            command("umount", self.mounted)
            self.mounted = None

    def close(self):
        self.unmount()
        if self.device:
            # the loop device's next owner has the kernel's defaults again
            write(f"/sys/class/bdi/{self.number()}/max_ratio", "100")
            write(f"/sys/class/bdi/{self.number()}/strict_limit", "0")
            command("losetup", "--detach", self.device)
            self.device = None
        if os.path.exists(self.image):
            os.remove(self.image)
