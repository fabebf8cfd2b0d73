"""JSON schemas for kubeconform, strict, from a live API server: schemas.py OPENAPI_V2.json OUT_DIRECTORY

Strict means that a field which the server does not know is an error, as with server-side validation. File names are those of
kubeconform's default template: kind, the group's first label, version.
"""

import json
import os
import sys

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def strict(node):
    """The node with references made local, int-or-string as both, and unknown properties refused."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
        return {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    if isinstance(node.get("$ref"), str):
        return {"$ref": "#/definitions/" + node["$ref"].rsplit("/", 1)[1]}
    node = {key: strict(value) for key, value in node.items()}
    open_ended = "additionalProperties" in node or node.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(node.get("properties"), dict) and not open_ended:
        node["additionalProperties"] = False
    return node


def references(node, definitions, seen):
    """Every definition that the node needs, directly or not."""
    if isinstance(node, list):
        for item in node:
            references(item, definitions, seen)
    elif isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str) and (name := target.rsplit("/", 1)[1]) not in seen:
            seen.add(name)
            references(definitions[name], definitions, seen)
        for value in node.values():
            references(value, definitions, seen)
    return seen


def main(source, out):
    with open(source, encoding="utf-8") as file:
        raw = json.load(file)["definitions"]
    definitions = {name: strict(value) for name, value in raw.items()}
    if QUANTITY in definitions:
        definitions[QUANTITY] = {"oneOf": [{"type": "string"}, {"type": "number"}]}
    os.makedirs(out, exist_ok=True)
    for name, value in raw.items():
        kinds = value.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1:
            continue
        kind = kinds[0]
        schema = json.loads(json.dumps(definitions[name]))
        properties = schema.setdefault("properties", {})
        properties["kind"] = {"type": "string", "enum": [kind["kind"]]}
        group = kind["group"] + "/" if kind["group"] else ""
        properties["apiVersion"] = {"type": "string", "enum": [group + kind["version"]]}
        needed = references(schema, definitions, set())
        schema["definitions"] = {needed_name: definitions[needed_name] for needed_name in needed}
        parts = [kind["kind"].lower(), kind["group"].split(".")[0], kind["version"]]
        with open(f"{out}/{'-'.join(part for part in parts if part)}.json", "w", encoding="utf-8") as file:
            json.dump(schema, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
