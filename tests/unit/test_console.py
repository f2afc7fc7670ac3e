"""What a job says on the terminal, and what its log keeps. Each job is a process: it redirects its own streams."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@dataclass(frozen=True)
class Finished:
    status: int
    terminal: str
    output: str
    log: str


def run_job(folder: Path, body: str) -> Finished:
    source = "from drunet.console import job, progress, say\n" + dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=folder,
        env={"PYTHONPATH": str(SCRIPTS), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    log = folder / "job.log"
    return Finished(done.returncode, done.stderr, done.stdout, log.read_text("utf-8") if log.exists() else "")


def test_a_job_that_ends_well_is_silent_and_keeps_everything_in_its_log(tmp_path: Path) -> None:
    done = run_job(
        tmp_path,
        """
        import os, subprocess, sys, warnings
        with job("job.log"):
            print("from print")
            print("from stderr", file=sys.stderr)
            warnings.warn("from warnings")
            os.write(2, b"from native stderr\\n")
            os.write(1, b"from native stdout\\n")
            subprocess.run([sys.executable, "-c", "print('from a child')"])
        """,
    )
    assert (done.status, done.terminal, done.output) == (0, "", "")
    for what in ("print", "stderr", "warnings", "native stderr", "native stdout", "a child"):
        assert f"from {what}" in done.log


def test_a_mistake_of_the_user_is_one_message_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    done = run_job(
        tmp_path,
        """
        from drunet.errors import SheetError
        def deep():
            raise SheetError("a slide_id is given twice", where="sheet", found="case_7", mend="Rename one.")
        with job("job.log"):
            deep()
        print("never reached")
        """,
    )
    assert done.status == 1
    assert done.terminal.strip() == "ERROR  sheet: a slide_id is given twice (found: case_7). Rename one."
    assert done.output == ""
    assert "Traceback" in done.log
    assert "in deep" in done.log
    assert "never reached" not in done.log


def test_any_other_exception_is_called_a_defect_and_points_to_the_log(tmp_path: Path) -> None:
    done = run_job(
        tmp_path,
        """
        with job("job.log"):
            {}["no such key"]
        """,
    )
    assert done.status == 1
    assert done.terminal.strip().splitlines() == ["DEFECT  KeyError: 'no such key'", "The traceback is in job.log"]
    assert "Traceback" in done.log


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ENOSPC", "disk is full"),
        ("EDQUOT", "quota"),
        ("EROFS", "only be read"),
        ("EACCES", "permissions"),
        ("EIO", "does not answer"),
        ("ENAMETOOLONG", "shorter path"),
    ],
)
def test_what_the_machine_refuses_is_no_defect_and_names_no_path(tmp_path: Path, code: str, words: str) -> None:
    done = run_job(
        tmp_path,
        f"""
        import errno, os
        with job("job.log"):
            raise OSError(errno.{code}, os.strerror(errno.{code}), "slides/Nordmann.svs")
        """,
    )
    assert done.status == 1 and len(done.terminal.strip().splitlines()) == 1
    assert done.terminal.startswith("\nERROR  job.log: ") and words in done.terminal
    assert "DEFECT" not in done.terminal and "Nordmann" not in done.terminal


@pytest.mark.parametrize(("leave", "status"), [("sys.exit(3)", 3), ("raise KeyboardInterrupt", -2)])
def test_leaving_a_job_on_purpose_is_no_defect(tmp_path: Path, leave: str, status: int) -> None:
    done = run_job(
        tmp_path,
        f"""
        import sys
        with job("job.log"):
            {leave}
        """,
    )
    assert done.status == status
    assert "DEFECT" not in done.terminal


def test_what_is_said_is_on_the_terminal_and_in_the_log(tmp_path: Path) -> None:
    done = run_job(
        tmp_path,
        """
        with job("job.log"):
            say("4 of 5 µm")
        """,
    )
    assert done.terminal == "4 of 5 µm\n"
    assert "4 of 5 µm" in done.log


def test_outside_a_job_it_is_said_once(tmp_path: Path) -> None:
    done = run_job(tmp_path, "say('hello')")
    assert done.terminal == "hello\n"


def test_progress_is_lines_that_end_with_the_whole_count(tmp_path: Path) -> None:
    done = run_job(
        tmp_path,
        """
        with job("job.log"):
            with progress(120, "case_7", "tiles") as bar:
                for _ in range(120):
                    bar.update()
        """,
    )
    lines = done.terminal.splitlines()
    assert "\r" not in done.terminal
    assert all(line.startswith("case_7: ") for line in lines)
    assert "120/120 tiles" in lines[-1]
    # Nothing in between: the job took less than the ten seconds between lines.
    assert len(lines) <= 2


@pytest.mark.parametrize(
    ("asked", "seen", "grows"), [("", "-1", "None"), (", gpus=0", "-1", "None"), (", gpus=2", "0,1", "true")]
)
def test_a_job_sees_gpus_only_if_it_asked_for_one(tmp_path: Path, asked: str, seen: str, grows: str) -> None:
    done = run_job(
        tmp_path,
        f"""
        import os
        os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"  # as Slurm sets it
        with job("job.log"{asked}):
            print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH"))
        """,
    )
    assert done.status == 0 and done.log.split() == [seen, grows]
