"""From the JSON lines of a run to its table: `python3 report.py RESULTS.jsonl` prints it."""

import json
import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.row import HIGHER, LOWER, NONE  # noqa: E402  pylint: disable=wrong-import-position


def read(path):
    with open(path, encoding="ascii") as file:
        lines = [json.loads(line) for line in file]
    return lines[0], lines[1:]


def rows():
    import rows as every  # pylint: disable=import-outside-toplevel
    return every.SHOWN


def short(value):
    if value is None:
        return "-"
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"


def spread(values):
    """min / median / max, or the one value."""
    if not values:
        return "-"
    if len(values) == 1:
        return short(values[0])
    return f"{short(min(values))} / **{short(statistics.median(values))}** / {short(max(values))}"


def ratio(ours, theirs):
    if not ours or not theirs:
        return None
    below = statistics.median(theirs)
    return statistics.median(ours) / below if below else None


def verdict(value, better):
    if value is None or better == NONE:
        return "-" if value is None else f"{value:.2f}"
    behind = value > 1 if better == LOWER else value < 1
    return f"{value:.2f}{' (Kafka is ahead)' if behind else ''}" if value >= 0.005 else f"{value:.4f}"


def values(lines, row, broker, key):
    found = [line["figures"].get(key) for line in lines if line["kind"] == "cell" and line["row"] == row and line["broker"] == broker]
    return [value for value in found if value is not None]


def figure_lines(lines, row, figure):
    columns = [column for column, _, _ in row.variants]
    ours = values(lines, row.name, "kennet", figure.key)
    # a row of Kennet alone has nobody to be compared with
    for column in columns[1:] or ["-"]:
        theirs = values(lines, row.name, column, figure.key)
        if ours or theirs:
            yield f"| {figure.unit} | {spread(ours)} | {spread(theirs)} | {verdict(ratio(ours, theirs), figure.better)} | {column} |"


def canary_line(lines, row):
    cells = [line for line in lines if line.get("row") == row.name and line["kind"] in ("cell", "repeated")]
    if not cells:
        return None
    worst = max(max(line["canary_max_ms"], line["canary_after_max_ms"]) for line in cells)
    p50 = statistics.median(line["canary_p50_ms"] for line in cells)
    load = statistics.median(line["load_before"] for line in cells)
    repeated = sum(line["kind"] == "repeated" for line in cells)
    noisy = sum(line["noisy"] for line in cells if line["kind"] == "cell")
    return f"canary: median {short(p50)} ms, worst {short(worst)} ms; {repeated} cells repeated, {noisy} still noisy; load average {short(load)}"


def table(lines, row):
    body = [text for figure in row.figures for text in figure_lines(lines, row, figure)]
    failed = [f"- {line['broker']}, round {line['round']}: **failed**: {line['reason']}" for line in lines if line["kind"] == "failed" and line["row"] == row.name]
    reasons = dict.fromkeys(line["reason"] for line in lines if line["kind"] == "skipped" and line["row"] == row.name)
    skipped = [f"- skipped: {reason}" for reason in reasons]
    if not (body or failed or skipped):
        return []
    out = [f"### {row.name}", "", f"{row.what}.", ""]
    if body:
        out += ["| figure | Kennet | Kafka | ratio | against |", "|---|---|---|---|---|", *body, ""]
    canary = canary_line(lines, row)
    out += [text for text in (canary, *failed, *skipped) if text]
    return [*out, ""]


def head(run, lines):
    end = next((line for line in lines if line["kind"] == "end"), {})
    scale = f"scale {run['scale']:g}, {run['rounds']} rounds{', quick' if run['quick'] else ''}"
    out = [
        "# Results", "",
        "Written by `bench/run`; `bench/README.md` says what each row means. Kennet is durable in every row, Kafka is at its defaults (no sync) unless a row",
        "says otherwise. Values are min / **median** / max over the rounds; a ratio is Kennet's median by Kafka's.", "",
        f"- command: `{run['command']}` ({scale}), {end.get('seconds', '?')} s",
        f"- {run['date']}, Kennet {run['commit']}, Apache Kafka {run['kafka']}, {run['java']}",
        f"- {run['processors']} processors, {run['memory_gib']} GiB, Linux {run['kernel']}; load average {run['load_average']:.1f} at the start, "
        f"{end.get('load_average', 0):.1f} at the end; page cache filled with {run['page_cache_filled_mib']} MiB",
    ]
    return [*out, *([f"- **note: {run['note']}**"] if run["note"] else []), ""]


def ahead(lines):
    """The rows in which Kafka's median is better, so that nobody has to look for them."""
    found = []
    for row in rows():
        for figure in row.figures:
            for column, _, _ in row.variants[1:]:
                ours, theirs = values(lines, row.name, "kennet", figure.key), values(lines, row.name, column, figure.key)
                value = ratio(ours, theirs)
                if value is not None and ((figure.better == LOWER and value > 1) or (figure.better == HIGHER and value < 1)):
                    overlap = len(ours) > 1 and max(ours) >= min(theirs) and min(ours) <= max(theirs)
                    found.append(f"- {row.name}: {figure.unit}, {value:.2f} against {column}{' (the spreads overlap)' if overlap else ''}")
    return ["## Where Kafka is ahead", "", *(found or ["Nowhere."]), "", "## Rows", ""]


def markdown(path):
    run, lines = read(path)
    parts = [*head(run, lines), *ahead(lines), *(text for row in rows() for text in table(lines, row))]
    return "\n".join([*parts, f"Raw rows: `bench/results/{os.path.basename(path)}`", ""])


def write(path, to):
    with open(to, "w", encoding="utf-8") as file:
        file.write(markdown(path))


if __name__ == "__main__":
    print(markdown(sys.argv[1]), end="")
