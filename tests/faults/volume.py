"""Volumes that fail on demand: ext4 in a loop device, a tmpfs, and an ext4 whose image has less room than it promises.

Everything is mounted below the suite's folder, where `run` undoes it whatever happened here.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import time


class Skip(Exception):
    """This machine can't do it; the message says why."""


def command(*arguments, fails_as=None):
    """Standard output of a program that must succeed; with `fails_as`, one that can't run here skips the row."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise Skip(f"{arguments[0]} is not installed") from error
    if done.returncode != 0:
        said = f"{' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}"
        raise Skip(f"{fails_as}: {said}") if fails_as else AssertionError(said)
    return done.stdout


def unmount(path, trouble=None):
    """A killed process may hold it for a moment. After other trouble, what is still in use is left to the end of the suite."""
    for left in reversed(range(50)):
        try:
            return command("umount", path)
        except AssertionError:
            if left == 0 and trouble is None:
                raise
            time.sleep(0.1)


class Ram:
    """A tmpfs of so many bytes."""

    def __init__(self, path, mebibytes):
        self.path = path
        os.makedirs(path, exist_ok=True)
        command("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "kennet-faults", path, fails_as="a tmpfs can't be mounted")

    def grow(self, mebibytes):
        command("mount", "-o", f"remount,size={mebibytes}m", self.path)

    def __enter__(self):
        return self

    def __exit__(self, trouble, *_):
        unmount(self.path, trouble)


class Loop:
    """An ext4 in a sparse image, which lies in memory: a quiet disk."""

    # a journal of its own size, and tables that are written at once, so that nothing but our data grows later
    MAKE = ("-q", "-F", "-m", "0", "-N", "2048", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0")

    def __init__(self, folder, mebibytes, options="noatime", make=MAKE):
        self.image, self.path, self.options = f"{folder}/image", f"{folder}/volume", options
        os.makedirs(self.path, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(mebibytes << 20)
        command("mkfs.ext4", *make, self.image, fails_as="an ext4 can't be made")
        self.mount(fails_as="a loop device can't be mounted")

    def mount(self, fails_as=None):
        command("mount", "-o", f"loop,{self.options}", self.image, self.path, fails_as=fails_as)

    def remount(self, check=False):
        """Unmounts and mounts: what only the page cache had is gone."""
        unmount(self.path)
        if check:
            # 1 is: errors were corrected
            done = subprocess.run(["e2fsck", "-fy", self.image], capture_output=True, text=True, timeout=60)
            assert done.returncode in (0, 1), f"e2fsck: {done.stdout[-300:]}"
        self.mount()

    def shutdown(self, flags):
        """EXT4_IOC_SHUTDOWN: as if the power was cut. 1 writes the file system's journal first, but no data; 2 writes nothing."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, 0x8004587D, struct.pack("I", flags))
        except OSError as error:
            raise Skip(f"ext4 can't be shut down here: {error}") from error
        finally:
            os.close(folder)

    def device(self):
        return command("findmnt", "-no", "SOURCE", self.path).strip()

    def data(self):
        """An empty folder for a data directory."""
        return f"{self.path}/data"

    def __enter__(self):
        return self

    def __exit__(self, trouble, *_):
        unmount(self.path, trouble)


def extents(path):
    """The physical bytes of a file on its volume, as pairs of start and end."""
    found = []
    for line in command("filefrag", "-v", "-b4096", path, fails_as="extents can't be read").splitlines():
        # 0:        0..     255:      34816..     35071:    256:             last,eof
        parts = line.replace(":", " ").replace("..", " ").split()
        if len(parts) >= 6 and parts[0].isdigit() and parts[3].isdigit():
            found.append((int(parts[3]) * 4096, (int(parts[4]) + 1) * 4096))
    return found


def drop_cache(path):
    """What the page cache has of a file that is not dirty."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def files(folder):
    """All files below a folder, by path."""
    return sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)


def copy(source, target):
    """A copy of a folder, holes and all; what was at the target is gone."""
    shutil.rmtree(target, ignore_errors=True)
    command("cp", "-a", "--sparse=always", source, target)
