#!/usr/bin/env python3
"""Compares our messages with the schemas inside Kafka's own jars, field by field and version by version.

Our side is what the derive read from the structs (`cargo run --example dump_schemas`), theirs the JSON that Kafka's
code is generated from. Versions that we do not have are not compared; a later Kafka has more of them.

Usage: compare_schemas.py [--libs DIRECTORY_WITH_JARS] [--ours FILE_OR_-]
Prints one line a message, PASS or FAIL with the first difference; exits with 1 when one failed.
"""

import argparse
import glob
import json
import os
import re
import subprocess
import sys
import zipfile

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBS = os.path.expanduser("~/.cache/kennet/kafka-4.3.1/kafka/libs")
LAST = 32767
ZERO_UUID = "00000000-0000-0000-0000-000000000000"


def their_messages(libs):
    """Every schema in the jars, by name."""
    messages = {}
    for pattern in ("kafka-clients-*.jar", "kafka-group-coordinator-[0-9]*.jar"):
        for jar in glob.glob(os.path.join(libs, pattern)):
            with zipfile.ZipFile(jar) as archive:
                for name in archive.namelist():
                    if name.startswith("common/message/") and name.endswith(".json"):
                        message = json.loads(without_comments(archive.read(name).decode()))
                        messages[message["name"]] = message
    return messages


def without_comments(text):
    return re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda match: match.group(1) or "", text)


def versions(text):
    """"4+", "4-7" and "4" as (first, last); None for "none"."""
    if text is None or text == "none":
        return None
    if text.endswith("+"):
        return int(text[:-1]), LAST
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def contains(window, version):
    return window is not None and window[0] <= version <= window[1]


def snake(name):
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def their_default(field, base, is_array, nullable):
    text = field.get("default")
    if text == "null" or (text is None and base == "records" and nullable):
        return None
    if is_array:
        return "[]"
    if base in ("string", "bytes", "records"):
        return text or ""
    if base == "bool":
        return str(text if text is not None else "false").lower()
    if base == "uuid":
        return ZERO_UUID
    if base.startswith(("int", "uint")):
        return str(int(str(text or "0"), 0))
    return "struct"


def our_default(field, nullable):
    text = field["default"]
    if nullable and text == "None":
        return None
    text = re.sub(r"^Some\((.*)\)$", r"\1", text) if nullable else text
    if text in ('""', 'b""'):
        return ""
    if text.startswith('"'):
        return text.strip('"')
    if "fields" in field and text != "[]":
        return "struct"
    if field["type"] == "int16" and text == "None":
        return "0"  # an error code
    return re.sub(r"^\w+\((.*)\)$", r"\1", text)


def bytes_type(kind):
    return kind.replace("records", "bytes")


def their_layout(fields, common, version, flexible, is_request, window):
    """A struct in one version: what is in order, then what is tagged, by tag."""
    ordered, tagged = [], []
    for field in fields:
        if not contains(versions(field["versions"]), version):
            continue
        kind = field["type"]
        is_array = kind.startswith("[]")
        base = kind.removeprefix("[]")
        has_null = "nullableVersions" in field and overlap(versions(field["nullableVersions"]), window)
        entry = {
            "name": snake(field["name"]),
            "type": bytes_type(kind),
            "nullable": contains(versions(field.get("nullableVersions")), version),
            "default": their_default(field, base, is_array, has_null),
        }
        if is_request:
            covers = all(contains(versions(field["versions"]), each) for each in range(window[0], window[1] + 1))
            entry["strict"] = not covers and not field.get("ignorable", False)
        inner = field.get("fields") or common.get(base)
        if inner:
            inside = (max(window[0], versions(field["versions"])[0]), min(window[1], versions(field["versions"])[1]))
            entry["fields"] = their_layout(inner, common, version, flexible, is_request, inside)
        if flexible and contains(versions(field.get("taggedVersions")), version):
            tagged.append(dict(entry, tag=field["tag"]))
        else:
            ordered.append(entry)
    return ordered + sorted(tagged, key=lambda entry: entry["tag"])


def overlap(one, other):
    return one is not None and one[0] <= other[1] and other[0] <= one[1]


def our_layout(fields, version, flexible, is_request):
    ordered, tagged = [], []
    for field in fields:
        if not contains(field["versions"], version):
            continue
        nullable = "nullable" in field
        entry = {
            "name": field["name"],
            "type": bytes_type(field["type"]),
            "nullable": nullable and contains(field["nullable"], version),
            "default": our_default(field, nullable),
        }
        if is_request:
            entry["strict"] = field["strict"]
        if "fields" in field:
            entry["fields"] = our_layout(field["fields"], version, flexible, is_request)
        if flexible and "tag" in field and contains(field["tagged"], version):
            tagged.append(dict(entry, tag=field["tag"]))
        else:
            ordered.append(entry)
    return ordered + sorted(tagged, key=lambda entry: entry["tag"])


def first_difference(ours, theirs, path):
    for index in range(max(len(ours), len(theirs))):
        if index >= len(ours):
            return f"{path}: {theirs[index]['name']} is missing"
        if index >= len(theirs):
            return f"{path}: {ours[index]['name']} is not Kafka's"
        one, other = ours[index], theirs[index]
        for key in ("name", "type", "nullable", "tag", "default", "strict"):
            if one.get(key) != other.get(key):
                return f"{path}.{other['name']}: {key} is {one.get(key)!r}, Kafka's is {other.get(key)!r}"
        inner = first_difference(one.get("fields", []), other.get("fields", []), f"{path}.{one['name']}")
        if inner:
            return inner
    return None


def compare(ours, theirs):
    """The first difference of a message, or None."""
    if theirs is None:
        return "Kafka has no such message"
    first, last = ours["versions"]
    if ours["kind"] != "data" and ours["key"] != theirs["apiKey"]:
        return f"key is {ours['key']}, Kafka's is {theirs['apiKey']}"
    valid = versions(theirs["validVersions"])
    if not (contains(valid, first) and contains(valid, last)):
        return f"versions {first} to {last}, Kafka's are {theirs['validVersions']}"
    common = {struct["name"]: struct["fields"] for struct in theirs.get("commonStructs", [])}
    flexible_versions = versions(theirs["flexibleVersions"])
    is_request = ours["kind"] == "request"
    for version in range(first, last + 1):
        flexible = contains(flexible_versions, version)
        if flexible != (ours["flexible_from"] is not None and version >= ours["flexible_from"]):
            return f"v{version} is flexible on one side only"
        mine = our_layout(ours["fields"], version, flexible, is_request)
        other = their_layout(theirs["fields"], common, version, flexible, is_request, (first, last))
        difference = first_difference(mine, other, f"v{version}")
        if difference:
            return difference
    return None


def our_messages(source):
    if source == "-":
        return json.load(sys.stdin)
    if source:
        with open(source, encoding="utf-8") as file:
            return json.load(file)
    command = ["cargo", "run", "-q", "-p", "kennet-protocol", "--features", "testing", "--example", "dump_schemas"]
    return json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--libs", default=LIBS, help="directory with Kafka's jars")
    parser.add_argument("--ours", help="output of dump_schemas; it is run when this is left out")
    arguments = parser.parse_args()
    theirs = their_messages(arguments.libs)
    if not theirs:
        print(f"SKIP schemas: no kafka-clients jar in {arguments.libs}")
        return 0
    failed = False
    for message in our_messages(arguments.ours):
        difference = compare(message, theirs.get(message["name"]))
        first, last = message["versions"]
        name = f"schema {message['name']} v{first}-{last}"
        print(f"FAIL {name}: {difference}" if difference else f"PASS {name}")
        failed = failed or difference is not None
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
