"""What the multi-lens study trains: sets of images, arms by the strength of their lenses, and settings of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drunet.augment.pipeline import MultiLens
from drunet.errors import ConfigError, closest

WITHOUT = "without"
# A set may have its own of these.
_OWN = ("share", "augment")
_TRAINING = (
    "architecture",
    "options",
    "weights",
    "freeze_fraction",
    "batch_norm_momentum",
    "size",
    "share",
    "validation_share",
    "multi_lens",
    "augment",
    "training",
)


# Formats of which one file may hold what is learnt from and what is judged by.
_BOTH_PARTS = (".npz", ".zip")


def image_sets_of(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sets of images that take part, by name."""
    return {name: dict(files) for name, files in settings["datasets"].items() if files is not None}


def misfit(settings: Mapping[str, Any]) -> str | None:
    """Say why the study cannot be made with these settings, or None."""
    datasets = image_sets_of(settings)
    if not datasets:
        mend = "Name files, or {embedded: digits}."
        return str(ConfigError("no set of images is left", where="study_settings.multi_lens.datasets", mend=mend))
    radius = settings["multi_lens"]["radius"]
    if radius[0] >= radius[1]:
        where, mend = "study_settings.multi_lens.multi_lens.radius", "Write [smallest, largest + 1]."
        return str(ConfigError("the range is empty", where=where, found=radius, mend=mend))
    for name in settings["sweep"]["datasets"]:
        if name not in settings["datasets"]:
            where, mend = "study_settings.multi_lens.sweep.datasets", closest(name, datasets)
            return str(ConfigError("no such set of images", where=where, found=name, mend=mend))
    for name, files in datasets.items():
        for part in ("training", "test"):
            for path in files.get(part, []):
                if not Path(path).is_file():
                    where = f"study_settings.multi_lens.datasets.{name}.{part}"
                    mend = "Correct the path; relative ones start in the working directory."
                    return str(ConfigError("the file is not there", where=where, found=path, mend=mend))
        twice = [f for f in set(files.get("training", [])) & set(files.get("test", [])) if not f.endswith(_BOTH_PARTS)]
        if twice:
            where, mend = f"study_settings.multi_lens.datasets.{name}", "Name other files for one of the parts."
            return str(ConfigError("one file serves for learning and judging", where=where, found=twice[0], mend=mend))
    return None


def arm_name(strength: float) -> str:
    """Name of the arm with lenses of ±`strength`; files are named so."""
    return f"strength_{strength:g}" if strength else WITHOUT


def strength_of(arm: str) -> float:
    """Strength of an arm by its name."""
    return 0.0 if arm == WITHOUT else float(arm.removeprefix("strength_"))


def arms_of(settings: Mapping[str, Any], dataset: str) -> list[str]:
    """Arms of a set: without, with, and those of the strength sweep if it is swept; weakest first, none twice."""
    swept = settings["sweep"]["strengths"] if dataset in settings["sweep"]["datasets"] else []
    return [arm_name(s) for s in sorted({0.0, float(settings["strength"]), *map(float, swept)})]


def training_settings(settings: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """What decides the trainings of a set, of either arm."""
    files = settings["datasets"][dataset]
    return {**{key: settings[key] for key in _TRAINING}, **{key: files[key] for key in _OWN if key in files}}


def lenses_of(settings: Mapping[str, Any], strength: float, size: int) -> MultiLens:
    """Lenses of an arm: radii scaled to the image's size, strengths of ±`strength`.

    Parameters
    ----------
    settings : mapping
        lenses, radius (px), radius_at (px of the image side that the radii are meant for), probability, centres.
    strength : float
        0 means no lenses.
    size : int
        Side of the image, px.
    """
    scale = size / settings["radius_at"]
    low, high = (max(1, round(radius * scale)) for radius in settings["radius"])
    return MultiLens(
        lenses=settings["lenses"] if strength else 0,
        # The upper end is never drawn.
        radius=(low, max(high, low + 1)),
        strength=(-strength, strength),
        probability=settings["probability"],
        centres=settings["centres"],
    )
