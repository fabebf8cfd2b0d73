"""The disk's canary: small synchronous writes of our own beside the brokers' files. It tells a slow broker from a slow disk."""

import os
import statistics
import time

WRITES = 25
NOISY_MS = 20.0


class Canary:
    def __init__(self, folder):
        self.file = os.open(os.path.join(folder, "canary"), os.O_WRONLY | os.O_CREAT | os.O_DSYNC, 0o600)
        # the file's blocks are there before anything is timed
        os.pwrite(self.file, bytes(4096 * WRITES), 0)

    def sing(self):
        times = []
        for number in range(WRITES):
            began = time.monotonic()
            os.pwrite(self.file, b"c" * 4096, 4096 * number)
            times.append((time.monotonic() - began) * 1000)
        return {"canary_p50_ms": round(statistics.median(times), 3), "canary_max_ms": round(max(times), 3)}

    def close(self):
        os.close(self.file)
