"""Shares of slides as Slurm jobs: which commands are run, in which order. A real Slurm does it in `make cluster`."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "profiles/slurm/shares.sh"
# Notes its options, and runs what it is given at once, an array's jobs one after the other.
SBATCH = """#!/bin/bash
printf '%q ' "$@" >> options
echo >> options
numbers=0
for option; do
    case $option in
    --array=*) numbers=$(seq ${option#--array=1-}) ;;
    --wrap) next=wrap ;;
    *) [ "${next:-}" = wrap ] && command=$option && next= ;;
    esac
done
for SLURM_ARRAY_TASK_ID in $numbers; do
    export SLURM_ARRAY_TASK_ID SLURM_CPUS_PER_TASK=3
    sh -c "$command" > /dev/null
done
echo "$(wc -l < options);cluster"
"""
SNAKEMAKE = """#!/bin/bash
printf '%q ' "share=${DRUNET_SHARE:-}" "$@" >> commands
echo >> commands
"""


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("snakemake", SNAKEMAKE)):
        (tmp_path / "bin" / name).write_text(text, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def shares(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(folder / "bin"), os.environ["PATH"]))
    asked = {k: v for k, v in os.environ.items() if k not in ("SHARE", "TARGET")} | {"PATH": path, **variables}
    return subprocess.run([str(SCRIPT), *arguments], cwd=folder, env=asked, capture_output=True, text=True, check=False)


def lines(path: Path) -> list[list[str]]:
    return [shlex.split(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_shares_run_before_what_needs_them_all(submitted: Path) -> None:
    done = shares(submitted, "3", "--configfile", "my config.yaml")
    assert done.stdout.splitlines() == ["job 1: inspect", "job 2: models", "job 3: segment", "job 4: rest"]
    usual = ["--cores", "3", "--nolock"]
    given = ["--configfile", "my config.yaml", "--"]

    def share(number: int, rule: str, target: str) -> list[str]:
        return [f"share={number}/3", *usual, "--batch", f"{rule}={number}/3", *given, target]

    assert lines(submitted / "commands") == [
        share(1, "list_slides", "inspect"),
        share(2, "list_slides", "inspect"),
        ["share=", *usual, *given, "inspect", "models"],
        share(1, "outlines", "outlines"),
        share(2, "outlines", "outlines"),
        ["share=", *usual, *given, "all"],
    ]


def test_each_step_waits_for_the_one_before_and_asks_for_what_it_is_told(submitted: Path) -> None:
    shares(submitted, "20", SHARE="--partition=gpu --gpus=1", TARGET="segment")
    steps = lines(submitted / "options")
    assert [next((o for o in step if o.startswith("--dependency")), "") for step in steps] == [
        "",
        *(f"--dependency=afterany:{number}" for number in (1, 2, 3)),
    ]
    assert ["--array=1-19" in step for step in steps] == [True, False, True, False]
    assert all({"--partition=gpu", "--gpus=1"} <= set(step) for step in steps)
    assert lines(submitted / "commands")[-1] == ["share=", "--cores", "3", "--nolock", "--", "segment"]


@pytest.mark.parametrize("number", [(), ("1",), ("all",), ("--configfile",)])
def test_a_number_of_shares_that_makes_none_is_refused(submitted: Path, number: tuple[str, ...]) -> None:
    done = shares(submitted, *number)
    assert done.returncode == 1
    assert done.stderr.startswith("shares.sh: say first in how many shares")
    assert f"(found: {' '.join(number) or 'nothing'})" in done.stderr
    assert not (submitted / "options").exists()
