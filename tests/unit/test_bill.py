"""The software bill names what the lock file pins, each with its digests, and what needs what."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-gpu.lock")
_REF = re.compile(r"pkg:(pypi|npm)/[^@]+@[^@]+")


def bill_of(name: str) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("make_bill", ROOT / "envs/make_bill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    made = module.bill(ROOT / "envs" / name, project)
    assert made == module.bill(ROOT / "envs" / name, project)
    return made


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_is_on_the_bill_with_all_its_digests(name: str) -> None:
    """Counted by another way than the bill is made: by lines."""
    made, lock = bill_of(name), (ROOT / "envs" / name).read_text(encoding="utf-8")
    components = made["components"]
    pinned = re.findall(r"(?m)^([a-z0-9-]+)==([^ ;\\]+)", lock.lower())
    assert {(c["name"], c["version"]) for c in components if "pypi" in c["purl"]} == set(pinned)
    assert sum(len(c.get("hashes", [])) for c in components) == lock.count("--hash=sha256:")
    scopes = {c["name"]: c["scope"] for c in components}
    assert (scopes["h5py"], scopes["numpy"], scopes["pytest"], scopes["mypy"]) == (*["required"] * 2, *["optional"] * 2)


def test_the_bill_has_the_form_of_cyclonedx() -> None:
    """Its required keys; the schema itself where the library that holds it is installed."""
    made = bill_of("requirements.lock")
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["serialNumber"])
    refs = [c["bom-ref"] for c in made["components"]]
    assert len(set(refs)) == len(refs) and all(_REF.fullmatch(ref) for ref in refs)
    assert all({"type", "name", "version", "purl"} <= set(c) for c in made["components"])
    edges = {edge["ref"]: edge["dependsOn"] for edge in made["dependencies"]}
    assert set(edges) == {*refs, "drunet"} and {on for several in edges.values() for on in several} <= set(refs)
    # Every package is there for a reason.
    assert {on for several in edges.values() for on in several} == set(refs)
    assert any("h5py" in ref for ref in edges[next(ref for ref in refs if "/tensorflow@" in ref)])
    if importlib.util.find_spec("cyclonedx") and importlib.util.find_spec("jsonschema"):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)) is None


def test_files_of_the_viewer_are_on_the_bill_as_they_are() -> None:
    files = [f for c in bill_of("requirements.lock")["components"] for f in c.get("components", [])]
    assert len(files) == 3
    for file in files:
        held = (ROOT / "scripts/drunet_commands/viewer/vendor" / file["name"]).read_bytes()
        assert file["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(held).hexdigest()}]
