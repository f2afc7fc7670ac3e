"""Write a software bill (CycloneDX 1.6, JSON) of what a lock file pins and of what stands in the sources of others.

The same lock file gives the same bytes: no date, no machine. Licences are not in a lock file, and so not in the bill,
but for the viewer's files.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
VENDORED = ROOT / "scripts/drunet_commands/viewer/vendor/vendored.tsv"
_ROOT_REF = "drunet"


def bill(lock: Path, project: dict[str, Any]) -> dict[str, Any]:
    """The bill of a lock file with hashes, as `uv pip compile` writes it, and of the table `project` of pyproject.toml.

    A package's hashes are those of every file of its release that may be installed. Packages that are needed for
    running are `required`, those for tests and clusters `optional`.
    """
    text = lock.read_text(encoding="utf-8")
    parts = [block for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text) if block.strip()]
    components, parents = [_component(block) for block in parts], {}
    for component, block in zip(components, parts, strict=True):
        parents[component["bom-ref"]] = set(re.findall(r"(?m)^    #(?: via|  ) ([A-Za-z0-9._-]+)", block))
    wanted = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    needed = _needed(wanted, components, parents)
    for component in components:
        component["scope"] = "required" if component["name"] in needed else "optional"
    asked = [c["bom-ref"] for c in components if _ROOT_REF in parents[c["bom-ref"]]]
    viewer = _vendored()
    edges = {_ROOT_REF: [*asked, *(c["bom-ref"] for c in viewer)]} | {c["bom-ref"]: [] for c in viewer}
    for parent in components:
        edges[parent["bom-ref"]] = [c["bom-ref"] for c in components if parent["name"] in parents[c["bom-ref"]]]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text + VENDORED.read_text(encoding='utf-8'))}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": _ROOT_REF,
                "name": project["name"],
                "version": project["version"],
                "licenses": [{"license": {"id": project["license"]}}],
            },
            "properties": [{"name": "drunet:lock", "value": lock.name}],
        },
        "components": [*components, *viewer],
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in edges.items()],
    }


def _component(block: str) -> dict[str, Any]:
    requirement = Requirement(re.split(r"\\|\n", block)[0])
    name, version = canonicalize_name(requirement.name), str(requirement.specifier).removeprefix("==")
    purl = f"pkg:pypi/{name}@{version}"
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", block)
    component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": content} for content in hashes],
    }
    if requirement.marker:
        component["properties"] = [{"name": "drunet:marker", "value": str(requirement.marker)}]
    return component


def _needed(names: set[str], components: list[dict[str, Any]], parents: dict[str, set[str]]) -> set[str]:
    """Names of packages, and of those that they lead to."""
    needed = set(names)
    while more := {c["name"] for c in components if parents[c["bom-ref"]] & needed} - needed:
        needed |= more
    return needed


def _vendored() -> list[dict[str, Any]]:
    """The viewer's packages from npm, each with the files of it that stand in the sources."""
    packages: dict[str, dict[str, Any]] = {}
    with VENDORED.open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if not row["version"]:
                continue
            purl = f"pkg:npm/{row['package'].replace('@', '%40')}@{row['version']}"
            package = {
                "type": "library",
                "bom-ref": purl,
                "name": row["package"],
                "version": row["version"],
                "scope": "required",
                "licenses": [{"license": {"id": row["licence"]}}],
                "purl": purl,
                "components": [],
            }
            file = {"type": "file", "name": row["file"], "hashes": [{"alg": "SHA-256", "content": row["sha256"]}]}
            packages.setdefault(purl, package)["components"].append(file)
    return list(packages.values())


def main() -> None:
    """Write the bill of the lock file that is named first to the file that is named second."""
    lock, target = map(Path, sys.argv[1:])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target.write_text(json.dumps(bill(lock, project), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
