"""All rows. First those on the two brokers that run all the time; the last of them leaves most behind."""

from rows import capped, fetch, latency, limits, produce, reopen, requests, rest, tail

_LOAD = [*produce.ROWS, *fetch.ROWS, *latency.ROWS, *requests.ROWS, *rest.MEMORY, *tail.ROWS]
_ALONE = [*reopen.ROWS, *limits.ROWS, *capped.ROWS]

# as they are measured, the idle ones when the brokers have just started; and as they are shown
MEASURED = [*rest.START, *_LOAD, *_ALONE]
SHOWN = [*rest.START, *rest.IDLE, *_LOAD, *_ALONE]
