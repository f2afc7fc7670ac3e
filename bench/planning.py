"""How long Snakemake plans a cohort: before inspection, after it, when nothing is to be done, and a tenth of it.

    python -m bench.planning [--slides 1000] [--keep FOLDER] [--profile]

Slides are small files of no format and results empty ones, for planning looks at names, dates and Snakemake's own
records alone; the networks are finished models, the target is `segment`. Processor time until the plan stands, by slide
too, and of the whole dry run, which goes on to print every job. `--profile` prints where the time goes instead.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from bench.machine import flags

ROOT = Path(__file__).parents[1]
INSPECTED = ("status.json", "tissue.png", "tissue.geojson", "annotation.parquet")
PER_SLIDE = {
    "slides/{}": ("tiles.parquet",),
    "heatmaps/first": ("{}.parquet", "{}.tif"),
    "runs/whole/{}": ("refined.tif", "segmentation.tif", "segmentation.png", "segmentation.geojson"),
}
MODELS = ("model.onnx", "export.json")
RUN = ("slides.tsv", "tumour.tsv", "tumour_per_patient.tsv")


def lay(folder: Path, slides: int) -> list[str]:
    """Write a configuration, a sheet and files in place of slides and models; the slides' IDs."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["cohort"].update(sheet="slides.tsv", root="slides")
    config["classifiers"] = {"first": {"onnx": "first.onnx"}}
    config["refiners"] = {"second": {"onnx": "second.onnx"}}
    config["runs"] = {"whole": {"classifier": "first", "refiner": "second"}}
    (folder / "slides").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    names = [f"slide_{number:05d}" for number in range(slides)]
    rows = ["slide_id\tpatient_id\tpath\tsplit\tannotation\tannotation_kind"]
    for number, name in enumerate(names):
        # Sizes differ, as those of slides do: files of one size are compared.
        (folder / "slides" / f"{name}.svs").write_bytes(bytes(1000 + number))
        rows.append(f"{name}\tpatient_{number // 2}\t{name}.svs\t\t\t")
    (folder / "slides.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for model in ("first", "second"):
        (folder / f"{model}.onnx").write_bytes(model.encode())
    return names


def plant_inspected(folder: Path, names: list[str]) -> None:
    """The files that inspection leaves, and the table of it."""
    plant(folder / "results/slides" / name / file for name in names for file in INSPECTED)
    table = "".join(f"{name}\tok\t\t\n" for name in names)
    (folder / "results/slides.tsv").write_text(f"slide_id\tstatus\treason\tmend\n{table}", encoding="utf-8")


def plant_rest(folder: Path, names: list[str]) -> None:
    """The files that `segment` leaves."""
    results = folder / "results"
    plant(results / "models" / model / file for model in ("first", "second") for file in MODELS)
    for where, files in PER_SLIDE.items():
        plant(results / where.format(name) / file.format(name) for name in names for file in files)
    plant(results / "runs/whole" / file for file in RUN)


def plant(paths: Iterator[Path]) -> None:
    """Write files that are not there."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def snakemake(folder: Path, *arguments: str, profile: bool = False) -> tuple[float, float, int]:
    """Run Snakemake quietly; processor time in seconds until the plan stands, and in all, and how many jobs it has."""
    into = folder / "profile.out"
    command = [sys.executable, *(["-m", "cProfile", "-o", str(into)] if profile else []), "-m", "snakemake"]
    command += ["-s", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    planned, jobs, said = 0.0, 0, []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            said.append(line)
            # The table of jobs is printed when the plan stands, and once more at the end of a dry run.
            if line.startswith("total") and not jobs:
                jobs, planned = int(line.split()[1]), processor_time(process.pid)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"snakemake {' '.join(arguments)}\n{''.join(said)}")
    if profile:
        import pstats

        pstats.Stats(str(into)).sort_stats("tottime").print_stats(35)
        pstats.Stats(str(into)).sort_stats("cumtime").print_stats(70)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return planned or whole, whole, jobs


def processor_time(process: int) -> float:
    """Seconds of processor time that a process has used."""
    used = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def folder_of(kept: Path | None) -> Iterator[Path]:
    """A folder that goes away, or the one that was asked for."""
    if kept:
        yield kept.absolute()
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary) / "cohort"


def main() -> None:
    """Print a row per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="a new folder to work in, which stays")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    print(flags())
    print(f"{'planning':24}{'jobs':>8}{'planned, s':>12}{'dry run, s':>12}{'ms a slide':>12}{'wall, s':>9}")
    with folder_of(options.keep) as folder:
        names = lay(folder, options.slides)

        def row(what: str, *arguments: str, target: str = "segment", slides: int = options.slides) -> None:
            begun = time.perf_counter()
            planned, spent, jobs = snakemake(
                folder, "-n", "--quiet", "rules", *arguments, "--", target, profile=options.profile
            )
            wall = time.perf_counter() - begun
            ms = 1000 * planned / slides
            print(f"{what:24}{jobs:>8}{planned:>12.1f}{spent:>12.1f}{ms:>12.2f}{wall:>9.1f}", flush=True)

        row("before inspection")
        row("  a tenth", "--batch", "list_slides=1/10", slides=options.slides // 10)
        plant_inspected(folder, names)
        snakemake(folder, "--quiet", "all", "--touch", "--", "inspect")
        row("after inspection")
        row("  a tenth", "--batch", "outlines=1/10", target="outlines", slides=options.slides // 10)
        plant_rest(folder, names)
        snakemake(folder, "--quiet", "all", "--touch", "--", "segment")
        row("nothing to be done")


if __name__ == "__main__":
    main()
