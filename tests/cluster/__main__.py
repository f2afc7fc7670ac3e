"""Segment small slides on a real Slurm of one node, meddle with its jobs, and compare with a local run: `make cluster`.

Slides share jobs; a job is killed, one is cancelled, one runs out of its time: whatever happens, Snakemake submits the
job anew and the results are those of an undisturbed local run. `--slides 40 --together 10 --only shares` measures the
overhead. `plain` gives each slide jobs of its own, as the profile does when nothing else is asked; `shared` gives each
job several; with `shares` a job runs Snakemake itself, on a share of the slides.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kills.comparison import differences
from tiny_cohort import Project, clean_environment, copy_repository, make_project, paint_slide, sheet_row

from cluster import slurm

CPUS = 2
SLURM = [
    "--jobs", str(CPUS), "--cores", str(CPUS), "--latency-wait", "10", "--slurm-no-account",
    "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2",
    "--seconds-between-status-checks", "2",
    "--default-resources", "slurm_partition=main", "mem_mb=2000", "runtime=60", "disk_mb=1000",
]  # fmt: skip


def main() -> int:
    """Print a line for each run; 1 if one did not end in the same results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=6)
    parser.add_argument("--together", type=int, default=3, metavar="N", help="slides that share a job (default: 3)")
    parser.add_argument("--only", nargs="*", choices=RUNS, default=list(RUNS), help="runs on Slurm (default: all)")
    options = parser.parse_args()
    if why := slurm.missing():
        print(f"Skipped: {why}.")
        return 0
    # So that the daemons are ended too where this is stopped from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="cluster") as name:
        folder = Path(name).resolve()
        made = cohort(folder / "made", copy_repository(folder / "drunet"), options.slides)
        local = made.copy_to(folder / "local")
        begun = time.perf_counter()
        snakemake(local, "--cores", str(CPUS), "--", "inspect")
        inspected = local.copy_to(folder / "inspected")
        snakemake(local, "--cores", str(CPUS), "--", "segment")
        said("local", begun, options.slides, "")
        wrong = 0
        with slurm.running(folder / "slurm", CPUS):
            for run in options.only:
                project = (inspected if run in MEDDLED else made).copy_to(folder / run)
                begun = time.perf_counter()
                done = RUNS[run](project, options.together)
                found = [*differences(local.results, project.results)]
                wrong += bool(found)
                said(
                    run, begun, options.slides, "; ".join([done, *found[:3]]) if found else f"{done}; the same results"
                )
    print(f"{len(options.only) - wrong} of {len(options.only)} with the same results")
    return int(wrong > 0)


def said(run: str, begun: float, slides: int, words: str) -> None:
    """Print how a run went."""
    seconds = time.perf_counter() - begun
    print(f"{run:12} {seconds:6.0f} s, {seconds / slides:5.1f} s a slide  {words}", flush=True)


def cohort(folder: Path, repository: Path, slides: int) -> Project:
    """Slides of one tumour each, without annotation, and the finished networks of the other tests."""
    project = make_project(folder, repository)
    project.rows = []
    for number in range(slides):
        paint_slide(folder / f"slides/s{number:03}.tif", seed=number)
        project.rows.append(sheet_row(f"s{number:03}", f"patient_{number}", f"s{number:03}.tif"))
    return project.write()


def snakemake(project: Project, *arguments: str) -> str:
    """Run Snakemake to its end, which has to be a good one."""
    command = [sys.executable, "-m", "snakemake", "-s", str(project.repository / "Snakefile")]
    command += ["--directory", str(project.folder), *arguments]
    done = subprocess.run(
        command, cwd=project.folder, env=clean_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def on_slurm(project: Project, *arguments: str) -> str:
    """Run Snakemake with the profile that ships."""
    return snakemake(project, "--workflow-profile", str(project.repository / "profiles/slurm"), *SLURM, *arguments)


def plain(project: Project, together: int) -> str:
    """A slide's chain is a job."""
    before = last_job()
    on_slurm(project, "--", "segment")
    return f"{last_job() - before} jobs"


def shared(project: Project, together: int) -> str:
    """Several slides share a job; what gathers them runs last."""
    before = last_job()
    inspection = ["--groups", "inspect_slide=inspection", "--group-components", f"inspection={together}"]
    on_slurm(project, *inspection, "--", "inspect")
    segment_together(project, together)
    return f"{last_job() - before} jobs"


def segment_together(project: Project, together: int) -> str:
    """Segment inspected slides, several a job: as a batch, Snakemake plans them when it knows all of them."""
    groups = [f"{group}={together}" for group in ("prepare_slide", "segment_slide")]
    said = on_slurm(project, "--group-components", *groups, "--batch", "outlines=1/1", "--", "outlines")
    return said + on_slurm(project, "--", "segment")


def shares(project: Project, together: int) -> str:
    """A job runs Snakemake on its share of the slides."""
    script, before = project.repository / "profiles/slurm/shares.sh", last_job()
    number = max(2, len(project.rows) // together)
    asked = {"SHARE": f"--partition=main --cpus-per-task={CPUS} --mem=8G --time=60", "TARGET": "segment"}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    command = [
        str(script),
        str(number),
        "-s",
        str(project.repository / "Snakefile"),
        "--directory",
        str(project.folder),
    ]
    done = subprocess.run(
        command,
        cwd=project.folder,
        env=clean_environment({**asked, "PATH": path}),
        capture_output=True,
        text=True,
        check=True,
    )
    steps = re.findall(r"^job (\d+): ", done.stdout, flags=re.MULTILINE)
    while slurm.jobs("PENDING,RUNNING"):
        time.sleep(1.0)
    said = "".join(p.read_text(encoding="utf-8") for p in sorted((project.folder / ".snakemake/shares").iterdir()))
    if len(steps) != 4 or not (project.results / "runs").is_dir():
        raise SystemExit(f"{done.stdout}{done.stderr}\n{said}")
    return f"{last_job() - before} jobs"


def meddled(meddle: Callable[[str], None], run: Callable[[Project, int], str]) -> Callable[[Project, int], str]:
    """A run during which something is done to the first job that segments slides."""

    def meddling(project: Project, together: int) -> str:
        met: list[str] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.2):
                started = any((project.results / "heatmaps").rglob("*.parquet"))
                if started and (now := [j for j in slurm.jobs() if slurm.processes(j)]):
                    meddle(now[-1])
                    met.append(now[-1])
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            out = run(project, together)
        finally:
            over.set()
            watcher.join()
        again = out.count("Trying to restart job")
        # What a share did not finish is the next step's; else Snakemake submits the job once more.
        if not met or not (again or run is shares):
            raise SystemExit(f"no job was met, or none was submitted anew (met: {met})\n{out}")
        return f"job {met[0]}, {again} submitted anew"

    return meddling


def kill(job: str) -> None:
    """End the processes of a job at once, as a node does that has no memory left."""
    for process in slurm.processes(job):
        os.kill(process, signal.SIGKILL)


def cancel(job: str) -> None:
    """Cancel a job, as its user or an administrator does."""
    subprocess.run(["scancel", job], check=True)


def hold_beyond_its_time(job: str) -> None:
    """Stop a job's processes, and give it a minute in all."""
    for process in slurm.processes(job):
        os.kill(process, signal.SIGSTOP)
    subprocess.run(["scontrol", "update", f"JobId={job}", "TimeLimit=1"], check=True)


def last_job() -> int:
    """How many jobs Slurm has had."""
    told = subprocess.run(["squeue", "-h", "-t", "all", "-o", "%A"], capture_output=True, text=True, check=True)
    return max(map(int, told.stdout.split()), default=0)


WAYS = {"killed": kill, "cancelled": cancel, "late": hold_beyond_its_time}
MEDDLED = {name: meddled(way, segment_together) for name, way in WAYS.items()}
RUNS: dict[str, Callable[[Project, int], str]] = {
    "plain": plain,
    "shared": shared,
    "shares": shares,
    "share_killed": meddled(kill, shares),
    **MEDDLED,
}


if __name__ == "__main__":
    sys.exit(main())
