"""One run that is cut off at a moment, and taken up again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
from started_snakemake import run_snakemake
from tiny_cohort import Finished, Project, clean_environment

from kills.comparison import differences, left_over
from kills.moments import WITHOUT, Moment, Says, Share, Writes

TRIES = 6
# Seconds after which what is waited for is taken for lost.
PATIENCE = 600.0
BUSY = "this model is being trained by another process"
DONE = "Nothing to be done"


class MissedError(Exception):
    """The job was over before the kill."""


def survive(moment: Moment, undisturbed: Project, folder: Path) -> tuple[list[str], int]:
    """Cut a run off, take it up again, and compare: what is wrong, and how often the cut was tried."""
    for tried in range(1, TRIES + 1):
        shutil.rmtree(folder, ignore_errors=True)
        project = begun(moment, undisturbed, folder)
        try:
            # A share that was over too soon is halved.
            cut(project, moment, seconds_of(undisturbed.results, moment.rule) * 0.5 ** (tried - 1))
        except MissedError:
            continue
        try:
            wrong = take_up(project, moment)
        finally:
            end_all(project)
        return [*wrong, *left_over(folder), *differences(undisturbed.results, project.results)], tried
    return ["no kill met its moment"], TRIES


def run(project: Project, *arguments: str) -> Finished:
    """Run Snakemake to its end, however slow the machine is."""
    command, environment = project.command(*arguments), clean_environment()
    return Finished(*run_snakemake(command[3:], project.folder, environment, seconds=3 * PATIENCE))


def begun(moment: Moment, undisturbed: Project, folder: Path) -> Project:
    """A copy of the undisturbed project, without what the moment's rule makes and all that comes of it."""
    project = undisturbed.copy_to(folder)
    for name in (*WITHOUT[moment.rule], "logs"):
        path = project.results / name
        if path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
    return project


def cut(project: Project, moment: Moment, seconds: float) -> None:
    """Start a run and cut it off. Raises MissedError if the job was not running any more."""
    driver = project.start()
    try:
        job = wait_for(moment, project, driver, seconds)
        match moment.how:
            case "group":
                os.killpg(driver.pid, signal.SIGKILL)
            case "driver":
                driver.kill()
            case "job":
                os.kill(job, signal.SIGKILL)
            case "term":
                driver.terminate()
            case "ctrl_c":
                # As a terminal does.
                os.killpg(driver.pid, signal.SIGINT)
        driver.wait(PATIENCE)
    except BaseException:
        end_all(project, driver.pid)
        driver.wait()
        raise
    too_late = isinstance(moment.when, Writes) and not any(project.results.glob(moment.when.pattern))
    if driver.returncode == 0 or too_late:
        raise MissedError


def wait_for(moment: Moment, project: Project, driver: subprocess.Popen[bytes], seconds: float) -> int:
    """Wait for a moment in a job that takes so many seconds; the job's process."""
    deadline = time.monotonic() + PATIENCE

    def until(true: Callable[[], object], pause: float) -> None:
        while not true():
            if driver.poll() is not None or time.monotonic() > deadline:
                raise MissedError
            time.sleep(pause)

    until(lambda: jobs_of(project, moment.rule), 0.05)
    job, logs = jobs_of(project, moment.rule)[0], project.results / "logs"

    def says(words: str) -> bool:
        own = (p for p in logs.rglob("*.log") if moment.rule in p.relative_to(logs).with_suffix("").parts)
        return any(words in path.read_text(encoding="utf-8") for path in own)

    match moment.when:
        case Share(share):
            # The log is there when the work begins.
            until(lambda: says(""), 0.02)
            time.sleep(share * seconds)
        case Says(words):
            until(lambda: says(words), 0.02)
        case Writes(pattern):
            until(lambda: next(project.results.glob(pattern), None), 0.0002)
    if job not in jobs_of(project, moment.rule):
        raise MissedError
    return job


def take_up(project: Project, moment: Moment) -> list[str]:
    """Do as the messages ask, with the same command; what went wrong."""
    wrong = []
    locks = project.folder / ".snakemake/locks"
    if locks.is_dir() and any(locks.iterdir()):
        if moment.how not in ("group", "driver"):
            wrong.append("a lock was left")
        if (unlocked := run(project, "--unlock")).status:
            wrong.append(f"--unlock: {unlocked.output[-300:]}")
    orphans = jobs_of(project)
    done = run(project)
    if orphans:
        wait_for_end(project)
        if done.status and BUSY in done.output:
            done = run(project)
    if done.status:
        said = [line for line in done.output.splitlines() if line.startswith(("ERROR", "DEFECT"))]
        return [*wrong, f"exit status {done.status}: {' '.join(said) or done.output[-300:]}"]
    if orphans and DONE not in run(project, "--dry-run").output:
        # What an orphan wrote last is newer than what the second run made of it.
        again = run(project)
        if again.status or DONE not in run(project, "--dry-run").output:
            wrong.append("not all is done")
    return wrong


def jobs_of(project: Project, rule: str = "") -> list[int]:
    """Processes that run the scripts of a rule, or of any, in a project's folder."""
    scripts, ending = f"{project.folder}/.snakemake/scripts/", f".{rule}.py" if rule else ".py"
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # Some end while this looks.
        with suppress(OSError):
            arguments = path.read_bytes().decode("utf-8", "replace").split("\0")
            if any(a.startswith(scripts) and a.endswith(ending) for a in arguments):
                found.append(int(path.parent.name))
    return found


def wait_for_end(project: Project) -> None:
    """Wait until the orphans of a killed driver are through; end those that do not get there."""
    deadline = time.monotonic() + PATIENCE
    while jobs_of(project) and time.monotonic() < deadline:
        time.sleep(0.2)
    end_all(project)


def end_all(project: Project, *others: int) -> None:
    """Let nothing that was started outlive this."""
    for pid in (*others, *jobs_of(project)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def seconds_of(results: Path, rule: str) -> float:
    """How long a job of a rule took, without the start of its Python."""
    files = [*results.glob(f"benchmarks/{rule}.tsv"), *results.glob(f"benchmarks/{rule}/**/*.tsv")]
    return min(float(pd.read_csv(path, sep="\t")["s"].iloc[0]) for path in files)
