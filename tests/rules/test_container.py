"""Jobs run in the image that the configuration names, where Snakemake is told to use one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_cohort import Project

# A stand-in for apptainer that writes down how it was called and runs the command itself.
APPTAINER = """#!/bin/sh
case "$*" in *--version*) echo 'apptainer version 1.3.0'; exit 0;; esac
echo "$*" >> "$CALLS"
for last; do :; done
exec bash -c "$last"
"""


@pytest.mark.slow
def test_a_job_runs_in_the_image_that_the_configuration_names(new_project: Project, tmp_path: Path) -> None:
    program, calls = tmp_path / "bin/apptainer", tmp_path / "calls"
    program.parent.mkdir()
    program.write_text(APPTAINER, encoding="utf-8")
    program.chmod(0o755)
    new_project.config["container"] = "image.sif"
    new_project.write()
    (new_project.folder / "image.sif").touch()
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "CALLS": str(calls)}
    target = "results/slides/tumour_b/status.json"
    done = new_project.run("--sdm", "apptainer", "--", target, environment=environment)
    assert done.status == 0, done.output
    (call,) = calls.read_text(encoding="utf-8").splitlines()
    assert call.startswith("exec ") and " image.sif " in call.replace(f"{new_project.folder}/", "")
    assert (new_project.folder / target).is_file()
