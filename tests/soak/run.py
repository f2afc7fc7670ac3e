"""One run of many tiny slides, and what its main process held while it went on."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from started_snakemake import JOBS, Started, _listening
from tiny_cohort import Project, clean_environment, labelled_slide, make_project

# Seconds between two looks, and after which a run is taken for lost.
PAUSE, PATIENCE = 1.0, 4 * 3600.0
# Open files by which two moments of a run may differ: those of the jobs that go on.
SLACK = 8


@dataclass
class Seen:
    """What was seen of a run. `memory` (MB, its own) and `files` (open) are by second, `finished` when each
    slide was classified."""

    project: Project
    slides: int
    seconds: float = 0.0
    memory: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether page and tables are there, and no more files are open late in the run than early."""
        results = self.project.results
        table = (results / "runs/by_colour/tumour.tsv").read_text(encoding="utf-8").splitlines()
        page = (results / "report/report.html").read_text(encoding="utf-8")
        return (
            len(table) == self.slides + 1
            and "</html>" in page
            and self.late(self.files) <= self.early(self.files) + SLACK
        )

    @staticmethod
    def early(values: list[float]) -> float:
        """The median of the second quarter: the rules are read, and the run goes on."""
        return median(values[len(values) // 4 : len(values) // 2 + 1])

    @staticmethod
    def late(values: list[float]) -> float:
        """The median of the last quarter."""
        return median(values[-len(values) // 4 :])

    def halves(self) -> tuple[float, float]:
        """Seconds a slide in the first and in the second half of those that were classified."""
        half = len(self.finished) // 2
        start, middle, end = self.finished[0], self.finished[half], self.finished[-1]
        return (middle - start) / half, (end - middle) / max(1, len(self.finished) - 1 - half)

    def __str__(self) -> str:
        first, second = self.halves()
        memory, files = (
            f"{self.early(v):.0f}, {self.late(v):.0f}, {max(v):.0f}".rjust(15) for v in (self.memory, self.files)
        )
        a_slide = self.seconds / self.slides
        return f"{self.slides:6}  {self.seconds:7.0f}  {a_slide:7.2f}  {first:10.2f}  {second:11.2f}  {memory}  {files}"


def run_slides(folder: Path, repository: Path, slides: int) -> Seen:
    """Segment, measure and report so many tiny slides in one run; raises SystemExit if it ends badly."""
    project = make_project(folder, repository)
    project.rows = [
        labelled_slide(folder / "slides", f"s{number:05}", f"patient_{number}", "test", seed=number)
        for number in range(slides)
    ]
    # Writing pictures takes most of a large report's time, in proportion to their pixels.
    project.config["report"]["overlay_px"] = 256
    project.write()
    started, seen, over = Started(), Seen(project, slides), threading.Event()
    command = [
        "-s",
        str(repository / "Snakefile"),
        "--directory",
        str(folder),
        "--cores",
        "2",
        "--",
        "report",
        "segment",
    ]

    def watch() -> None:
        while not over.wait(PAUSE):
            with suppress(OSError, IndexError, StopIteration):
                status = Path(f"/proc/{started.process.pid}/task/{started.process.pid}/children")
                process = Path("/proc") / status.read_text().split()[0]
                lines = (process / "status").read_text().splitlines()
                memory = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))
                files = len([*(process / "fd").iterdir()])
                seen.memory.append(memory)
                seen.files.append(files)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    try:
        status, said = started.run(command, folder, {**clean_environment(), JOBS: _listening()}, PATIENCE)
    finally:
        over.set()
        watcher.join()
        started.end()
    seen.seconds = time.perf_counter() - begun
    if status:
        raise SystemExit(f"the run of {slides} slides ended with {status}\n{said}")
    seen.finished = sorted(p.stat().st_mtime for p in project.results.glob("heatmaps/tone/*.parquet"))
    return seen
