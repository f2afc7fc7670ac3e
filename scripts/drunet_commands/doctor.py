"""The preflight: `drunet doctor` looks at everything that a run needs, and says what is broken and how to mend it.

It holds no lock and writes no result, so it works on a broken configuration and while a run goes on. What it checks are
the checks of the run itself, made together and early.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from drunet.errors import DrunetError, FailedSlideError
from drunet.files import check_writable

ROOT = Path(__file__).resolve().parents[2]
DEMO = "results/demo"
# µm/px of the tissue mask: enough to see whether there is tissue, and whether outlines lie on it.
OVERVIEW_MPP = 16.0


class Finding(NamedTuple):
    """One line of the table: `ok`, `note` or `BROKEN`, what was found, how to mend it, and the check."""

    state: str
    found: str
    mend: str = ""
    check: str = ""


@dataclass
class Project:
    """What is examined: configuration files, cores, and what earlier checks learnt for later ones."""

    files: Sequence[str]
    cores: int
    root: Path = ROOT
    config: dict[str, Any] = field(default_factory=dict)
    sound: bool = False
    rows: dict[str, Any] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    tissue: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


def examine(project: Project) -> list[Finding]:
    """All checks, in the order of a run; none stops the others."""
    findings: list[Finding] = []

    def tell(name: str, finding: Finding) -> None:
        # What the configuration's check has said, a later one finds again.
        if finding.found not in [other.found for other in findings]:
            findings.append(finding._replace(check=finding.check or name))

    for check in CHECKS:
        name = check.__name__.removeprefix("_")
        try:
            for finding in check(project):
                tell(name, finding)
        except DrunetError as error:
            tell(name, _broken(error))
        except ImportError as error:
            tell(name, Finding("BROKEN", f"{error.name} cannot be imported", "Run `make env`."))
        except OSError as error:
            tell(name, Finding("BROKEN", f"{error.strerror}", "Make room, change permissions, or name another folder."))
        except Exception as error:
            if project.sound:
                tell(name, Finding("BROKEN", f"this check failed: {error!r}", "Please report it."))
            else:
                tell(name, Finding("note", f"{name} not looked at", "Mend the configuration, then ask again."))
    return findings


def _broken(error: DrunetError) -> Finding:
    return Finding("BROKEN", str(error).removesuffix(f". {error.mend}"), error.mend)


def _environment(project: Project) -> Iterator[Finding]:
    import tomllib
    from importlib.metadata import distributions

    from packaging.requirements import Requirement

    have = {each.name.lower().replace("_", "-"): each.version for each in distributions()}
    asked = tomllib.loads((project.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    lock = (project.root / "envs/requirements.lock").read_text(encoding="utf-8").splitlines()
    needed, pins = map(Requirement, asked), [Requirement(line.rstrip("\\ ")) for line in lock if line[:1].isalnum()]
    here = [r for r in needed if r.marker is None or r.marker.evaluate()]
    locked = {r.name: r.specifier for r in pins if r.marker is None or r.marker.evaluate()}
    sound = True
    for r in here:
        version, pinned = have.get(r.name, "0"), locked.get(r.name, r.specifier)
        fits = r.specifier.contains(version, prereleases=True)
        if not fits or not pinned.contains(version, prereleases=True):
            sound, words = False, f"{r.name} {have.get(r.name, 'is missing')}, not {pinned if fits else r.specifier}"
            yield Finding("note" if fits else "BROKEN", words, "`make env` installs the tested versions.")
    if sound:
        yield Finding("ok", f"Python {sys.version.split()[0]}, {len(here)} packages as in the lock file")


def _configuration(project: Project) -> Iterator[Finding]:
    from drunet.configuration import checked, read_listed
    from drunet.settings import merging

    for path in project.files:
        try:
            project.config = merging.merged(project.config, merging.read_yaml(Path(path)))
        except Exception as error:  # OSError, UnicodeDecodeError, yaml.YAMLError, no mapping
            project.config, said = {}, " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
            mend = "Start in the project's folder, or correct the file: indentation, colons, quotation marks."
            yield Finding("BROKEN", f"{path} cannot be read: {said}", mend)
            return
    models = read_listed(project.config, project.root / "resources/models.yaml")
    settled = checked(project.config, models, project.files, project.root / "workflow")
    project.config, project.sound = settled, True
    yield Finding("ok", f"{', '.join(dict.fromkeys(project.files))}; runs: {', '.join(settled['runs'])}")


def _inference(project: Project) -> Iterator[Finding]:
    import onnx.parser

    from drunet.inference import EngineOptions, open_session
    from drunet.settings.inference import InferenceSettings

    asked = InferenceSettings.of(project.config["inference"], "inference").provider
    with tempfile.TemporaryDirectory() as folder:
        text = '<ir_version: 8, opset_import: ["": 13]> try (float[n] x) => (float[n] y) { y = Identity(x) }'
        onnx.save(onnx.parser.parse_model(text), f"{folder}/try.onnx")
        open_session(f"{folder}/try.onnx", EngineOptions(provider=asked), where="inference.provider")
    yield Finding("ok", f"a network runs on {asked}")


def _results(project: Project) -> Iterator[Finding]:
    folder = project.config["results"]
    check_writable(folder)
    with tempfile.TemporaryFile(dir=_there(folder)) as file:
        file.write(bytes(4096))
    yield Finding("ok", f"{folder} can be written, {shutil.disk_usage(_there(folder)).free / 1e9:.1f} GB free")


def _there(folder: str) -> Path:
    return next(p for p in (Path(folder).absolute(), *Path(folder).absolute().parents) if p.is_dir())


def _sheet(project: Project) -> Iterator[Finding]:
    from drunet import cohort

    demo = cohort.read_sheets([str(p) for p in sorted((project.root / "resources/demo").glob("*.tsv"))], DEMO)
    project.made = {file for row in demo.values() for file in (row.path, row.annotation) if file}
    project.rows = cohort.read_sheets(project.config["cohort"]["sheet"], project.config["cohort"]["root"])
    rows = project.rows.values()
    cohort.check_files(rows, project.made)
    told = set[str]()
    for words, alike in (
        ("hold the same bytes", cohort.twin_slides(rows, project.made)),
        ("have the same outlines to the byte", cohort.shared_outlines(rows, project.made)),
    ):
        for group in ([slide, *others] for slide, others in alike.items()):
            if not told.issuperset(group):
                told.update(group)
                found = f"{len(group)} slides {words}: {cohort.few(group)}"
                yield Finding("note", found, "Keep one of them, unless that is meant.")
    counted = ", ".join(f"{sum(row.split == split for row in rows)} {split}" for split in ("train", "val", "test"))
    people = len({row.patient_id for row in rows})
    yield Finding("ok", f"{len(rows)} slides of {people} patients: {counted}")


def _models(project: Project) -> Iterator[Finding]:
    from drunet.export.adoption import adopt
    from drunet.settings.encoder import EncoderSettings
    from drunet.settings.finished import FinishedModel

    def tried(kind: str, name: str, model: dict[str, Any]) -> Finding | None:
        block = EncoderSettings if kind == "encoders" else FinishedModel
        with tempfile.TemporaryDirectory() as folder:
            try:
                settings: Any = block.of(model, f"{kind}.{name}")
                size, target = project.config["tiles"]["size"], f"{folder}/model.onnx"
                adopt(model["onnx"], target, name=name, role=kind[:-1], size=size, settings=settings)
            except DrunetError as error:
                return _broken(error)
        return None

    models = [(k, n, m) for k in ("classifiers", "refiners", "encoders") for n, m in project.config.get(k, {}).items()]
    there = [each for each in models if Path(each[2].get("onnx", "")).is_file()]
    with ThreadPoolExecutor(project.cores) as pool:
        broken = [finding for finding in pool.map(lambda each: tried(*each), there) if finding]
    yield from broken
    used = {name for run in project.config["runs"].values() for name in (run["classifier"], run["refiner"])}
    trained = {n: m["data"] for _, n, m in models if n in used and "onnx" not in m and m["training"]["epochs"]}
    for name, data in trained.items() if project.rows else ():
        train = [row for row in project.rows.values() if row.split == "train"]
        fit = [row for row in train if row.annotation_kind in data["annotation_kinds"]]
        if not any(not data.get("cohorts") or row.cohort in data["cohorts"] for row in fit):
            kinds = " or ".join(data["annotation_kinds"])
            mend = "Fill in `split` (`drunet split`), or name a finished model."
            if train and not fit:
                mend = (
                    f"Annotate slides of split train so ({kinds}), change `annotation_kinds`, or name a finished model."
                )
            yield Finding("BROKEN", f"{name} has nothing to learn from: no row of split train is {kinds}", mend)
    words = f"{len(there) - len(broken)} finished tried on tiles, {len(trained)} to train"
    fetched = sum("onnx" in model for *_, model in models) - len(there)
    yield Finding("ok", words + f", {fetched} to fetch" * bool(fetched))


def _slides(project: Project) -> Iterator[Finding]:
    from drunet.cohort import few
    from drunet.inspection import inspect
    from drunet.settings.cohort import CohortSettings
    from drunet.settings.tissue import TissueSettings

    if not project.rows:
        yield Finding("note", "slides not looked at", "Mend the sheet, then ask again.")
        return
    block = CohortSettings.of(project.config["cohort"], "cohort")
    tissue = TissueSettings.of(project.config["tissue"], "tissue")

    def look(row: Any) -> Any:
        return inspect(
            row.path,
            row.slide_id,
            mpp=row.mpp,
            tissue=tissue.model_copy(update={"mpp": max(tissue.mpp, OVERVIEW_MPP)}),
            annotation=row.annotation if Path(row.annotation).is_file() else None,
            kind=row.annotation_kind,
            classes=block.annotation_classes.model_dump(),
            geojson_frame=block.geojson_frame,
            max_untangled=block.max_untangled,
            region=row.region or None,
            own_tissue=row.tissue or None,
        )

    there = [row for row in project.rows.values() if Path(row.path).is_file()]
    with redirect_stderr(StringIO()) as said, ThreadPoolExecutor(project.cores) as pool:
        seen = list(zip(there, pool.map(look, there), strict=True))
    groups: defaultdict[tuple[str, str], list[FailedSlideError]] = defaultdict(list)
    for row, each in seen:
        if each.failure:
            groups[each.failure.status, each.failure.mend].append(each.failure)
        else:
            area = each.report["width"] * each.report["height"] * each.report["mpp"] ** 2 / 1e6
            project.tissue[row.split] += float(each.tissue.mean()) * area
    for (status, mend), failures in groups.items():
        check = "annotations" if status == "annotation_unusable" else "slides"
        slides = few([str(failure.where) for failure in failures])
        yield Finding("BROKEN", f"{slides}: {failures[0].what}", mend, check)
    for line in said.getvalue().splitlines():
        if line.startswith(("WARNING  ", "NOTE  ")):
            yield Finding("note", line.partition("  ")[2])
    fine = [row for row, each in seen if not each.failure]
    to_make = sum(row.path in project.made and row not in there for row in project.rows.values())
    words = f"{len(fine)} of {len(there)} can be used, {sum(project.tissue.values()):.3g} mm² of tissue"
    words = "; ".join([words] * bool(there) + [f"{to_make} are made by the run"] * bool(to_make))
    yield Finding("ok" if len(fine) == len(there) else "note", words)
    yield Finding("ok", f"{sum(bool(row.annotation) for row in fine)} read, drawn over tissue", check="annotations")


def _machine(project: Project) -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    asked = {rule: block.get("mem_mb", 0) for rule, block in project.config.get("resources", {}).items()}
    driver = "an" if shutil.which("nvidia-smi") else "no"
    words = f"{project.cores} cores, {memory / 1000:.0f} GB of memory, {driver} NVIDIA driver"
    if too_much := [f"{rule} asks for {mb} MB" for rule, mb in asked.items() if mb > memory]:
        mend = "Lower `resources`, with smaller batches, or take a larger machine."
        yield Finding("BROKEN", f"{words}; {', '.join(too_much)}", mend)
    else:
        yield Finding("ok", words)


def _forecast(project: Project) -> Iterator[Finding]:
    from drunet_commands.forecast import forecast, in_words

    if not (project.sound and project.tissue):
        yield Finding("note", "none before configuration, sheet and slides are there and sound")
        return
    seconds, needed, source = forecast(project.config, project.cores, len(project.rows), project.tissue)
    words = f"from the beginning about {in_words(seconds)} and {needed / 1e9:.1f} GB: {source}"
    if needed < shutil.disk_usage(_there(project.config["results"])).free:
        yield Finding("ok", words)
    else:
        yield Finding("BROKEN", words, "Make room, or set `results` elsewhere.")


CHECKS = (_environment, _configuration, _inference, _results, _sheet, _models, _slides, _machine, _forecast)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `drunet doctor` is asked with."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake, over config.yaml"
    )
    parser.add_argument("--cores", type=int, default=cores, help="that the run will have (default: all)")


def run(asked: argparse.Namespace) -> int:
    """Print the table; status 1 if something is broken."""
    findings = examine(Project(["config.yaml", *asked.configfile], max(1, asked.cores)))
    broken = sum(finding.state == "BROKEN" for finding in findings)
    end = f"{broken} fault{'s' * (broken > 1)}. Mend them from the top." if broken else "Nothing is broken."
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("", "check", "what was found, and what to do")
        for each in findings:
            style = {"ok": "green", "note": "yellow", "BROKEN": "bold red"}[each.state]
            words = Text.assemble(each.found, *([("\n→ " + each.mend, "bold")] if each.mend else []))
            table.add_row(Text(each.state, style), each.check, words)
        Console(highlight=False).print(table, end)
    else:
        lines = [f"{f.state:8}{f.check:15}{f.found}" + (f". {f.mend}" if f.mend else "") for f in findings]
        sys.stdout.write("\n".join([*lines, end, ""]))
    return int(broken > 0)
