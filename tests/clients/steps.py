"""What the Python clients' tests share: a line for each step, and records that are awkward."""

import sys
import traceback

# key, value, headers: empty, null, binary, long, not ASCII
AWKWARD = [
    (b"key", b"value", []),
    (None, b"without a key", []),
    (b"without a value", None, []),
    (b"", b"", []),
    (b"binary", bytes(range(256)), [("header", b"one"), ("header", b"two"), ("empty", b"")]),
    ("schl\u00fcssel".encode(), "gr\u00fc\u00dfe \U0001f30d".encode(), [("\u00fcber", "\u00e4".encode())]),
    (b"long", b"x" * 300_000, []),
]


def step(name, run):
    """Runs one step and prints its line; a step that fails does not stop those after it."""
    try:
        run()
        print(f"ok {name}", flush=True)
    except Exception as error:  # noqa: BLE001 - whatever a client throws is the step's failure
        traceback.print_exc(file=sys.stderr)
        print(f"not {name}: {type(error).__name__}: {str(error)[:200]}", flush=True)


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: found {str(found)[:200]}, expected {str(expected)[:200]}")
