"""What Snakemake understood of every rule, and what every rule that works must have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tiny_cohort import ROOT, Project, clean_environment

Described = dict[str, Any]
# `rule` is a keyword of Snakemake's language, hence `each`.
DUMP = """
include: "Snakefile"

import json

with open("rules.json", "w") as file:
    json.dump(
        {
            each.name: {
                "file": str(each.snakefile),
                "script": each.script,
                "log": [str(f) for f in each.log],
                "benchmark": str(each.benchmark or ""),
                "conda": str(each._conda_env or ""),
                "priority": each.priority,
                "resources": {
                    name: "" if value.is_evaluable() else str(value.value) for name, value in each.resources.items()
                },
                "output": {str(f): name for name, f in each.output._allitems()},
            }
            for each in workflow.rules
        },
        file,
    )
"""
MEMORY, MINUTES = 4321, 17


def described_rules(repository: Path, folder: Path) -> dict[str, Described]:
    """Every rule by name, with the configuration that ships and all resources set; `folder` is made."""
    shutil.copytree(repository, folder)
    (folder / "describe.smk").write_text(DUMP, encoding="utf-8")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["resources"] = {name: {"mem_mb": MEMORY, "runtime": MINUTES} for name in settable_rules()}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    # The last `-s` counts; without the profile its defaults do not stand in for what a rule lacks.
    arguments = ("-s", str(folder / "describe.smk"), "--workflow-profile", "none", "--list-rules")
    done = Project(folder, folder, config).run(*arguments)
    assert done.status == 0, done.output
    return dict(json.loads((folder / "rules.json").read_text(encoding="utf-8")))


def imported_while_read(project: Project) -> set[str]:
    """Every module that a process of its own imports to read the rules."""
    command, environment = project.command("--list-rules"), clean_environment({"PYTHONPROFILEIMPORTTIME": "1"})
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=True)
    return {x.rpartition("|")[2].strip() for x in done.stderr.splitlines() if x.startswith("import time:")}


def settable_rules() -> set[str]:
    """Rules whose memory and time the configuration may set."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "workflow").rglob("*.smk")]
    return set(re.findall(r'resource\("(\w+)", "mem_mb"', "".join(texts)))


def check_whole(name: str, rule: Described) -> None:
    assert rule["script"], name
    assert rule["log"], name
    assert rule["benchmark"], name
    assert rule["conda"], name
    assert rule["resources"]["mem_mb"].isdigit(), name
    assert rule["resources"]["runtime"].isdigit(), name
    assert rule["output"], name
    assert all(rule["output"].values()), f"{name} has an output without a name"


def check_gpus(name: str, rule: Described) -> None:
    """A job that asks for a GPU is shown it, and no other job is shown any."""
    source = (Path(rule["file"]).parent / rule["script"]).read_text(encoding="utf-8")
    assert ("gpus=snakemake.resources.gpu" in source) == ("gpu" in rule["resources"]), name


def check_kept_apart(name: str, rule: Described) -> None:
    """Log and benchmark have the wildcards of the outputs, or jobs would overwrite each other's."""
    wanted = set(re.findall(r"{(\w+)", " ".join(rule["output"])))
    for path in [*rule["log"], rule["benchmark"]]:
        assert set(re.findall(r"{(\w+)", path)) == wanted, f"{name}: {path}"


def check_settable(rule: Described, settable: bool) -> None:
    """What the configuration sets reaches the rule."""
    given = rule["resources"]
    assert (given["mem_mb"] == str(MEMORY)) == settable, rule["script"]
    assert (given["runtime"] == str(MINUTES)) == settable, rule["script"]
