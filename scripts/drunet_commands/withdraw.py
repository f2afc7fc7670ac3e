"""Withdrawal of a patient: `drunet withdraw PATIENT` lists what results hold of the patient, and which models saw them.

Only names and files are read, so that it works on a broken configuration and after the rows have left the sheet. What
belongs to the patient's slides is removed on request; models are not, as they cannot forget: those that have to be
made anew are named. The user's own files are left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drunet.cohort import FILES
from drunet.errors import ConfigError, SheetError
from drunet.files import is_safe_id
from drunet.settings.merging import merged, read_yaml

# Files and folders of a slide, in the folder of results.
_OF_A_SLIDE = (
    "slides/{}", "runs/*/{}", "heatmaps/*/{}.tif", "heatmaps/*/{}.parquet", "features/*/{}.npy", "logs/*/{}.log",
    "logs/*/*/{}.log", "benchmarks/*/{}.tsv", "benchmarks/*/*/{}.tsv",
)  # fmt: skip
# Where files stand that are about many slides, and folders that one rule writes whole, with what names slides in them.
_OF_MANY = ("*", "runs/*/*", "studies/**/*")
_WHOLE = (("report", "*.html"), ("runs/*/qupath", "*.qpproj"), ("runs/*/fastpathology", "projects/*/project.txt"))
_TEXTS = (".tsv", ".json", ".md", ".html", ".zip")
_FOLD = re.compile(r"\.fold\d+of\d+$")


@dataclass
class Traces:
    """What there is of some slides.

    `own`: their files and folders. `shared`: files about many slides that name one of them, which the next run makes
    anew from the others. `kept`: the user's. `models`: how each model saw them, by name. `unknown`: models whose slides
    are not known. `runs`: the models of each run that saw them.
    """

    results: Path
    slides: list[str]
    own: list[Path] = field(default_factory=list)
    shared: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    runs: dict[str, list[str]] = field(default_factory=dict)


def traces(results: Path, slides: Sequence[str], users: Iterable[Path], runs: Mapping[str, Any]) -> Traces:
    """Look for slides in a folder of results and in the corrections beside it.

    `users` are the files that the sheet names, `runs` the configuration's, as far as they are known.
    """
    found = Traces(results, list(slides))
    patterns = [each.format(slide) for slide in slides for each in _OF_A_SLIDE]
    paths = sorted({path for pattern in patterns for path in results.glob(pattern)})
    corrections = results.with_name(f"{results.name}_corrections")
    paths += [path for slide in slides if (path := corrections / f"{slide}.geojson").is_file()]
    given = [path.resolve() for path in users]
    for path in paths:
        holds = any(path.resolve() == file or path.resolve() in file.parents for file in given)
        (found.kept if holds else found.own).append(path)
    word = re.compile(rb"(?<![\w.-])(" + b"|".join(re.escape(s).encode() for s in slides) + rb")(?![\w-]|\.\w)")
    files = sorted({path for pattern in _OF_MANY for path in results.glob(pattern) if path.suffix in _TEXTS})
    # What stands beside a training is of its model.
    files = [file for file in files if file.is_file() and not (file.parent / "training.json").exists()]
    folders = [
        folder for place, pattern in _WHOLE for folder in results.glob(place)
        if any(_names(file, word) for file in folder.glob(pattern))
    ]  # fmt: skip
    apart = (path for path in files if path not in paths and not set(path.parents) & set(paths) and _names(path, word))
    found.shared = [*sorted(folders), *apart]
    _judge_models(found, results)
    found.shared += [p for p in sorted(results.glob("models/*/tiles.png")) if p.parent.name in found.unknown]
    for run, parts in runs.items():
        used = [str(parts.get(part)) for part in ("classifier", "refiner")] if isinstance(parts, Mapping) else []
        if seen := [name for name in used if name in found.models]:
            found.runs[str(run)] = seen
    return found


def _names(path: Path, word: re.Pattern[bytes]) -> bool:
    """Whether a file, or one in a ZIP, names a slide."""
    if path.suffix != ".zip":
        return bool(word.search(path.read_bytes()))
    try:
        with zipfile.ZipFile(path) as archive:
            return any(word.search(n.encode()) or word.search(archive.read(n)) for n in archive.namelist())
    except zipfile.BadZipFile:
        return True


def _judge_models(found: Traces, results: Path) -> None:
    """Models that learnt from the slides or were stopped by them, and those that owe something to such a model."""
    origins: dict[str, dict[str, str]] = {}
    for folder in sorted(path for path in results.glob("models/*") if path.is_dir()):
        try:
            facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            ways = [how for how in ("training", "validation") if set(facts[f"{how}_slides"]) & set(found.slides)]
            origins[folder.name] = _origins(facts.get("settings") or {})
        except (OSError, ValueError, KeyError, TypeError):
            found.unknown.append(folder.name)
            continue
        if ways:
            slides = (
                f"{how} slides {', '.join(s for s in facts[f'{how}_slides'] if s in found.slides)}" for how in ways
            )
            found.models[folder.name] = " and ".join(slides)
    grown = -1
    while grown != len(found.models):
        grown = len(found.models)
        seen = {*found.models, *(_FOLD.sub("", name) for name in found.models)}
        for name, others in origins.items():
            for how, other in others.items():
                if other in seen and name not in found.models:
                    found.models[name] = f"{how} {other}"


def _origins(settings: Mapping[str, Any]) -> dict[str, str]:
    """The models that a model owes something to, by what."""
    weights, lesson = settings.get("weights"), settings.get("distillation")
    sampling = (settings.get("data") or {}).get("sampling") or {}
    named = {
        "begun with": weights.get("model") if isinstance(weights, Mapping) else None,
        "taught by": lesson.get("teacher") if isinstance(lesson, Mapping) else None,
        "given tiles chosen by": sampling.get("first_model"),
        "given heatmaps of": settings.get("classifier"),
    }
    return {how: name for how, name in named.items() if name}


def _configured(files: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What can be read of the configuration, and what cannot."""
    config, remarks = dict[str, Any](), list[str]()
    for path in files:
        try:
            config = merged(config, dict(read_yaml(Path(path))))
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            remarks.append(f"{path} cannot be read and is passed over ({type(error).__name__})")
    return config, remarks


def _rows(config: Mapping[str, Any], remarks: list[str]) -> Iterator[tuple[dict[str, str], Path]]:
    """Rows of the sheets, sound or not, and where their paths start."""
    cohort = config.get("cohort")
    block = cohort if isinstance(cohort, Mapping) else {}
    sheets = block.get("sheet") or []
    for sheet in [sheets] if isinstance(sheets, str) else sheets:
        try:
            text = Path(str(sheet)).read_text(encoding="utf-8-sig")
            lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
            rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
        except (OSError, ValueError, csv.Error) as error:
            remarks.append(f"{sheet} cannot be read and is passed over ({type(error).__name__})")
            continue
        root = Path(str(block["root"])) if block.get("root") else Path(str(sheet)).parent
        cells = ({k: v.strip() for k, v in row.items() if isinstance(k, str) and isinstance(v, str)} for row in rows)
        yield from ((row, root) for row in cells)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `drunet withdraw` is asked with."""
    parser.add_argument("patient", nargs="?", help="as in the sheet's column `patient_id`")
    parser.add_argument("--slides", nargs="+", default=[], metavar="ID", help="slides that have left the sheet")
    parser.add_argument("--remove", action="store_true", help="remove what is listed under `slide` and `shared`")
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")


def run(asked: argparse.Namespace) -> int:
    """List, and remove on request. Raises DrunetError for an unknown patient, or while a run goes on."""
    config, remarks = _configured(["config.yaml", *asked.configfile])
    rows = list(_rows(config, remarks))
    patient = (asked.patient or "").casefold()
    theirs = [r.get("slide_id", "") for r, _ in rows if patient and r.get("patient_id", "").casefold() == patient]
    slides = [slide for slide in dict.fromkeys([*theirs, *asked.slides]) if is_safe_id(slide)]
    sys.stderr.write("".join(f"NOTE  {remark}.\n" for remark in remarks))
    if not slides:
        # Not what was asked for: it may be a name.
        mend = "Look at `patient_id`; slides that have left the sheet are named by --slides ID."
        raise SheetError("no slide of this patient is known", where="cohort.sheet", mend=mend)
    results = Path(str(config.get("results") or "results"))
    if not results.is_dir():
        mend = "Start in the folder of the run, or name its configuration: --configfile."
        raise ConfigError("there are no results", where="results", found=os.fspath(results), mend=mend)
    files = (root / Path(row[c]).expanduser() for row, root in rows for c in FILES if row.get(c))
    known = config.get("runs")
    found = traces(results, slides, files, known if isinstance(known, Mapping) else {})
    if asked.remove:
        if any(Path(".snakemake/locks").glob("*")):
            mend = "Wait for its end; after a kill run `snakemake --unlock`."
            raise ConfigError("a run goes on here, or was cut off: nothing is removed", where="--remove", mend=mend)
        for path in (*found.own, *found.shared):
            with contextlib.suppress(FileNotFoundError):
                (shutil.rmtree if path.is_dir() and not path.is_symlink() else os.unlink)(path)
    sys.stdout.write("\n".join([*_told(found, asked.remove), ""]))
    return 0


def _told(found: Traces, removed: bool) -> Iterator[str]:
    yield f"{'slides':8}{', '.join(found.slides)}"
    for kind, paths, more in (
        ("slide", found.own, ""),
        ("shared", found.shared, ": the next run makes it anew from the other slides"),
        ("yours", found.kept, ": left alone, the sheet names it or a file in it"),
    ):
        yield from (f"{kind:8}{path}{more}" for path in paths)
    for name, how in found.models.items():
        yield f"{'model':8}{name}: {how}. Anew: snakemake --cores N {found.results}/models/{name}/model.onnx"
    yield from (f"{'run':8}{run}: its results of other slides are by {', '.join(n)}" for run, n in found.runs.items())
    if found.unknown:
        yield f"{'unknown':8}{', '.join(found.unknown)}: what these models learnt from is not known here"
    count = len(found.own) + len(found.shared)
    dry = f"Nothing was removed: --remove takes away the {count} of `slide` and `shared`."
    yield f"{count} removed." if removed else dry
    if found.models:
        yield "Take the patient's rows out of the sheet first: a model that is made anew then learns without them."
    yield "Copies elsewhere are not seen: exported files, crates, backups. Names of slide files: `make forget`."
