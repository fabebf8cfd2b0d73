"""Takes the machine's free memory into the page cache before anything is measured.

A virtual machine hands free memory back to its host; a broker that touches such a page first pays for the host's fault, several times the price
of the write itself. The pages of a sparse file are made by reading it: no disk is used, and the kernel drops them for whoever needs memory.
"""

import os

from harness.process import free_mib

FREE_MIB = 1024
STEP = 8 << 20


def fill(folder):
    """The open file, to be kept until the end, and MiB that were taken."""
    path = os.path.join(folder, "page-cache")
    want = max(0, int(free_mib()) - FREE_MIB) << 20
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.truncate(file, want)
    offset = 0
    while offset < want and free_mib() > FREE_MIB:
        taken = len(os.pread(file, STEP, offset))
        if taken == 0:
            break
        offset += taken
    return file, offset >> 20
