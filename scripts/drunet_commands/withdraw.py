"""Withdrawal of a patient: `drunet withdraw PATIENT` lists what results hold of the patient, and which models saw them.

Only names and files are read, so that it works on a broken configuration and after the rows have left the sheet. What
belongs to the patient's slides is removed on request; models cannot forget, and are named. The user's files stay.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    "slides/{}", "runs/*/{}", "heatmaps/*/{}.tif", "heatmaps/*/{}.parquet", "features/*/{}.npy",
    "uncertainty/*/{}.tif", "uncertainty/*/{}.parquet", "next_regions/*/outlines/{}.geojson",
    "studies/*/*/{}.json", "studies/*/*/{}.tsv", "studies/*/*/*/{}.tsv", "studies/*/*/*/{}.jpg",
)  # fmt: skip
_NOTES = ("logs/*/{}.log", "logs/*/*/{}.log", "benchmarks/*/{}.tsv", "benchmarks/*/*/{}.tsv")
# Where files stand that are about many slides, and folders that one rule writes whole, with what names slides in them.
_OF_MANY, _TEXTS = ("*", "runs/*/*", "next_regions/*/*", "studies/**/*"), (".tsv", ".json", ".md", ".html", ".zip")
_WHOLE = (("report", "*.html"), ("runs/*/qupath", "*.qpproj"), ("runs/*/fastpathology", "projects/*/project.txt"))
_FOLD = re.compile(r"\.fold\d+of\d+$")
_KINDS = {
    "slide": "",
    "shared": ": the next run makes it anew from the other slides",
    "yours": ": left alone, the sheet names it or a file in it",
}


@dataclass
class Traces:
    """What there is of some slides.

    `paths` by kind: `slide`, theirs alone; `shared`, about many slides; `yours`, the user's. `models`: how each saw
    them; `unknown`: models whose slides are not known; `runs`: the models of each that saw them.
    """

    paths: dict[str, list[Path]]
    models: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    runs: dict[str, list[str]] = field(default_factory=dict)


def traces(results: Path, slides: Sequence[str], users: Iterable[Path], runs: Mapping[str, Any]) -> Traces:
    """Look for slides in a folder of results and in the corrections beside it.

    `users` are the files that the sheet names, `runs` the configuration's, as far as they are known.
    """
    own = {path for slide in slides for each in _OF_A_SLIDE + _NOTES for path in results.glob(each.format(slide))}
    saved = (results.with_name(f"{results.name}_corrections") / f"{slide}.geojson" for slide in slides)
    own |= {path for path in saved if path.is_file()}
    given = {above for path in users for above in (path.resolve(), *path.resolve().parents)}
    yours = {path for path in own if path.resolve() in given}
    word = re.compile(rb"(?<![\w.-])(" + b"|".join(re.escape(s).encode() for s in slides) + rb")(?![\w-]|\.\w)")
    shared = [
        folder for place, pattern in _WHOLE for folder in results.glob(place)
        if any(_names(file, word) for file in folder.glob(pattern))
    ]  # fmt: skip
    for file in {path for pattern in _OF_MANY for path in results.glob(pattern) if path.suffix in _TEXTS}:
        # What stands beside a training is of its model.
        apart = not own & {file, *file.parents} and not (file.parent / "training.json").exists()
        shared += [file] * (apart and file.is_file() and _names(file, word))
    found = Traces({"slide": sorted(own - yours), "shared": sorted(shared), "yours": sorted(yours)})
    _judge_models(found, results, set(slides))
    found.paths["shared"] += sorted(p for p in results.glob("models/*/tiles.png") if p.parent.name in found.unknown)
    for run, parts in runs.items():
        used = [parts.get(part) for part in ("classifier", "refiner")] if isinstance(parts, Mapping) else []
        if seen := [name for name in used if isinstance(name, str) and name in found.models]:
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


def _judge_models(found: Traces, results: Path, slides: set[str]) -> None:
    """Models that learnt from the slides or were stopped by them, and those that owe something to such a model."""
    origins: dict[str, dict[str, str]] = {}
    for folder in sorted(path for path in results.glob("models/*") if path.is_dir()):
        try:
            facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            ways = {how: [s for s in facts[f"{how}_slides"] if s in slides] for how in ("training", "validation")}
            origins[folder.name] = _origins(facts.get("settings") or {})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            found.unknown.append(folder.name)
            continue
        if words := " and ".join(f"{how} slides {', '.join(theirs)}" for how, theirs in ways.items() if theirs):
            found.models[folder.name] = words
    for _ in origins:
        seen = {*found.models, *(_FOLD.sub("", name) for name in found.models)}
        for name, others in origins.items():
            for how in (how for how, other in others.items() if other in seen):
                found.models.setdefault(name, f"{how} {others[how]}")


def _origins(settings: Mapping[str, Any]) -> dict[str, str]:
    """The models that a model owes something to, by what."""
    weights = settings.get("weights")
    named = {
        "begun with": weights.get("model") if isinstance(weights, Mapping) else None,
        "taught by": (settings.get("distillation") or {}).get("teacher"),
        "given tiles chosen by": ((settings.get("data") or {}).get("sampling") or {}).get("first_model"),
        "given heatmaps of": settings.get("classifier"),
    }
    return {how: name for how, name in named.items() if name}


def _configured(files: Sequence[str]) -> tuple[dict[str, Any], list[tuple[dict[str, str], Path]]]:
    """What can be read of the configuration, and rows of its sheets, sound or not, with the root of their paths."""
    config, rows = dict[str, Any](), list[tuple[dict[str, str], Path]]()
    for path in files:
        config = merged(config, _read(path, lambda file: dict(read_yaml(file))) or {})
    block = config["cohort"] if isinstance(config.get("cohort"), Mapping) else {}
    sheets = block.get("sheet") or []
    for sheet in [sheets] if isinstance(sheets, str) else map(str, sheets):
        root = Path(str(block.get("root") or Path(sheet).parent))
        for row in _read(sheet, _table) or ():
            rows.append(({k: v.strip() for k, v in row.items() if k and isinstance(v, str)}, root))
    return config, rows


def _table(sheet: Path) -> list[dict[str, Any]]:
    lines = sheet.read_text(encoding="utf-8-sig").split("\n")
    kept = (line for line in lines if line.strip() and not line.startswith("#"))
    return list(csv.DictReader(kept, delimiter="\t", quoting=csv.QUOTE_NONE))


def _read(path: str, by: Callable[[Path], Any]) -> Any:
    try:
        return by(Path(path))
    except (OSError, ValueError, TypeError, csv.Error, yaml.YAMLError) as error:
        sys.stderr.write(f"NOTE  {path} cannot be read and is passed over ({type(error).__name__}).\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `drunet withdraw` is asked with."""
    parser.add_argument("patient", nargs="?", default="", help="as in the sheet's column `patient_id`")
    parser.add_argument("--slides", nargs="+", default=[], metavar="ID", help="slides that have left the sheet")
    parser.add_argument("--remove", action="store_true", help="remove what is listed under `slide` and `shared`")
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")


def run(asked: argparse.Namespace) -> int:
    """List, and remove on request. Raises DrunetError for an unknown patient, or while a run goes on."""
    config, rows = _configured(["config.yaml", *asked.configfile])
    patient = asked.patient.casefold()
    theirs = [r.get("slide_id", "") for r, _ in rows if patient and r.get("patient_id", "").casefold() == patient]
    slides = [slide for slide in dict.fromkeys([*theirs, *asked.slides]) if is_safe_id(slide)]
    if not slides:
        # Not what was asked for: it may be a name.
        mend = "Look at `patient_id`; slides that have left the sheet are named by --slides ID."
        raise SheetError("no slide of this patient is known", where="cohort.sheet", mend=mend)
    results = Path(str(config.get("results") or "results"))
    if not results.is_dir():
        mend = "Start in the folder of the run, or name its configuration: --configfile."
        raise ConfigError("there are no results", where="results", found=os.fspath(results), mend=mend)
    if asked.remove and any(Path(".snakemake/locks").glob("*")):
        mend = "Wait for its end; after a kill run `snakemake --unlock`."
        raise ConfigError("a run goes on here, or was cut off: nothing is removed", where="--remove", mend=mend)
    files = (root / Path(row[c]).expanduser() for row, root in rows for c in FILES if row.get(c))
    known = config.get("runs")
    found = traces(results, slides, files, known if isinstance(known, Mapping) else {})
    for path in (*found.paths["slide"], *found.paths["shared"]) if asked.remove else ():
        (shutil.rmtree if path.is_dir() and not path.is_symlink() else os.unlink)(path)
    sys.stdout.write("\n".join([f"{'slides':8}{', '.join(slides)}", *_told(found, results, asked.remove), ""]))
    return 0


def _told(found: Traces, results: Path, removed: bool) -> Iterator[str]:
    yield from (f"{kind:8}{path}{_KINDS[kind]}" for kind, paths in found.paths.items() for path in paths)
    for name, how in found.models.items():
        yield f"{'model':8}{name}: {how}. Anew: snakemake --cores N {results}/models/{name}/model.onnx"
    yield from (f"{'run':8}{run}: its results of other slides are by {', '.join(n)}" for run, n in found.runs.items())
    if found.unknown:
        yield f"{'unknown':8}{', '.join(found.unknown)}: what these models learnt from is not known here"
    count = len(found.paths["slide"]) + len(found.paths["shared"])
    dry = f"Nothing was removed: --remove takes away the {count} of `slide` and `shared`."
    yield f"{count} removed." if removed else dry
    if found.models:
        yield "Take the patient's rows out of the sheet first: a model that is made anew then learns without them."
    yield "Copies elsewhere are not seen: exported files, crates, backups. Names of slide files: `make forget`."
