"""How long a run will take and how much disk it needs: from benchmarks of an earlier run, else by a rule of thumb."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What classifies tiles in this many threads, where the configuration says nothing else.
_THREADS = {"classify_tiles": 8, "encode_tiles": 8}
# Rule of thumb, measured with DR-fused on two cores. Seconds of a core per million pixels of tissue: a classifier's
# answers, an epoch of its training, one of a refiner's; seconds of a slide's other jobs in a run, and of making a model
# ready; bytes per slide and run, and per trained model; how many cores a GPU stands in for.
_ANSWER, _EPOCH, _WINDOW, _JOBS, _MODEL = 2.0, 10.0, 2.5, 10.0, 20.0
_SLIDE_BYTES, _MODEL_BYTES, _GPU = 10e6, 120e6, 30.0
Config = Mapping[str, Any]


def measured(results: str | os.PathLike[str]) -> dict[str, dict[tuple[str, ...], float]]:
    """Seconds of jobs of an earlier run: by rule, then by what its benchmark is named after (model or run, slide)."""
    found: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    folder = Path(results, "benchmarks")
    for path in folder.rglob("*.tsv"):
        rule, *names = path.relative_to(folder).with_suffix("").parts
        try:
            found[rule][tuple(names)] = float(path.read_text(encoding="utf-8").split("\n")[1].split("\t")[0])
        except (OSError, ValueError, IndexError):
            continue
    return dict(found)


def forecast(config: Config, cores: int, slides: int, tissue_mm2: Mapping[str, float]) -> tuple[float, float, str]:
    """Seconds and bytes of a run of so many slides from its beginning, and where the figures come from, in words.

    `config` is checked, with models written out; `tissue_mm2` is the tissue of slides by split, for the rule of thumb.
    """
    earlier, seconds = measured(config["results"]), 0.0
    seen = {names[-1] for names in earlier.get("inspect_slide", ())}
    if not seen or "classify_tiles" not in earlier:
        return _by_thumb(config, cores, slides, tissue_mm2)
    own = {*config["classifiers"], *config["refiners"], *config["runs"]}
    for rule, jobs in earlier.items():
        # Of this configuration: results may hold those of others beside them.
        ours = {n: s for n, s in jobs.items() if all(part.split(".fold")[0] in own for part in n[:-1])}
        threads = config.get("resources", {}).get(rule, {}).get("threads", _THREADS.get(rule, 1))
        of_slides = sum(s for names, s in ours.items() if names and names[-1] in seen)
        seconds += of_slides / len(seen) * slides / max(1, cores // threads)
        # Models wait for one another.
        seconds += sum(s for names, s in ours.items() if not names or names[-1].split(".fold")[0] in own)
    held = sum(p.stat().st_size for p in Path(config["results"]).rglob("*") if p.is_file())
    return seconds, held * max(1.0, slides / len(seen)), f"measured on {len(seen)} slides in an earlier run"


def _by_thumb(config: Config, cores: int, slides: int, tissue_mm2: Mapping[str, float]) -> tuple[float, float, str]:
    area, scale = sum(tissue_mm2.values()), config["tiles"]["mpp"]
    speed = _GPU if config["inference"]["provider"] in ("cuda", "tensorrt") else float(cores)
    used = {run["classifier"] for run in config["runs"].values()}
    seconds = len(used) * area / scale**2 * _ANSWER / speed + slides * len(config["runs"]) * _JOBS / cores
    trained = [m for kind in ("classifiers", "refiners") for m in config[kind].values() if "onnx" not in m]
    for model in trained:
        training, side = model["training"], model.get("options", {}).get("size")
        # A refiner's epoch is a number of windows, or twice the tissue.
        mpp = (model.get("mpp") or 8.0) / 2**0.5 if side else scale
        mpx = tissue_mm2.get("train", 0.0) / mpp**2
        if side and (steps := training.get("steps_per_epoch")):
            mpx = steps * training["batch_size"] * side**2 / 1e6
        seconds += training["epochs"] * mpx * (_WINDOW if side else _EPOCH) / speed + _MODEL
    needed = slides * len(config["runs"]) * _SLIDE_BYTES + len(trained) * _MODEL_BYTES
    return seconds, needed, f"a rule of thumb for {area:.3g} mm² of tissue; a first run on a few slides measures it"


def in_words(seconds: float) -> str:
    """A duration for people.

    Examples
    --------
    >>> in_words(42), in_words(570), in_words(5 * 3600 + 120), in_words(4e5)
    ('42 s', '10 min', '5.0 h', '4.6 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
