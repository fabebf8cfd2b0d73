"""Takes the machine's free memory into the page cache before anything is measured, and puts files out of it.

A virtual machine hands free memory back to its host; a broker that touches such a page first pays for the host's fault, several times the price
of the write itself. The pages of a sparse file are made by reading it: no disk is used, and the kernel drops them for whoever needs memory.
"""

import os

from harness.process import free_mib

FREE_MIB = 1024
STEP = 8 << 20


class PageCache:
    """The sparse file, kept open until the end."""

    def __init__(self, folder):
        self.size = max(0, int(free_mib()) - FREE_MIB) << 20
        self.file = os.open(os.path.join(folder, "page-cache"), os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(self.file, self.size)

    def fill(self):
        """MiB that were read: those that it has already cost little."""
        offset = 0
        while offset < self.size and free_mib() > FREE_MIB:
            taken = len(os.pread(self.file, STEP, offset))
            if taken == 0:
                break
            offset += taken
        return offset >> 20

    def drop(self, folder):
        """Puts all files below a folder out of the page cache, but for what is dirty; then fills it up."""
        for where, _, names in os.walk(folder):
            for name in names:
                try:
                    file = os.open(os.path.join(where, name), os.O_RDONLY)
                except FileNotFoundError:
                    continue
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)
        self.fill()

    def close(self):
        os.close(self.file)
