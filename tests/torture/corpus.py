"""Members of the corpus: what each is, what may become of it, and how it is made."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torture import intact
from torture.rules import Case

# Kinds, with the numbers that issues know them by.
KINDS = {
    "missing": "1   tissue of which the file has no pixels",
    "border": "1b  missing border tiles, which move bounds",
    "stranger": "2   annotations that other programs would run",
    "odd": "3   tags and values of odd types",
    "inside": "4   damage inside, met late",
    "names": "5   patients' names",
    "endless": "6   annotations with work without end",
    "believed": "6b  outlines and masks that do not fit the slide",
    "models": "7   finished models",
    "weights": "8   strange weights",
    "zips": "9   zips of images",
    "sheets": "11  cohort sheets, names that break a run",
    "escapes": "12  terminal escapes and long text",
    "levels": "14  sizes, levels and colours that contradict each other",
    "resolution": "15  resolutions",
}
OUTCOMES = ("refused", "identical", "counted", "silent", "undetectable", "crash", "hang", "memory")
BAD = ("silent", "crash", "hang", "memory")
SOUND = frozenset({"refused", "identical", "counted"})
REFUSED, IDENTICAL = frozenset({"refused"}), frozenset({"identical"})
KEPT = frozenset({"identical", "counted"})
Rng = np.random.Generator
# Damages what lies in a folder of a member; gives the case if another one than the twin's is to be run.
Damage = Callable[[Path, Case, Rng], Any]


@dataclass(frozen=True)
class Member:
    """One broken input.

    Attributes
    ----------
    twin : str
        The intact input that it is held against, a key of `TWINS`; for others than slides its own maker knows it.
    make : callable
        Damages a copy of the twin.
    allowed : set of str
        Outcomes that are right.
    undetectable : str
        Why no reader could notice, for members that are listed as such; empty for all others.
    runner : str
        A key of `torture.runners.RUNNERS`.
    """

    name: str
    kind: str
    twin: str
    make: Damage
    allowed: frozenset[str] = SOUND
    undetectable: str = ""
    runner: str = "slide"

    def rng(self) -> Rng:
        """Draws of this member, the same in every corpus."""
        return np.random.default_rng([intact.SEED, zlib.crc32(self.name.encode())])


def members(kind: str, twins: str | Sequence[str], damages: Mapping[str, Any], **options: Any) -> Iterator[Member]:
    """A member for each twin and damage; a damage may come with options of its own: (damage, {...})."""
    for twin in [twins] if isinstance(twins, str) else twins:
        for name, damage in damages.items():
            make, own = damage if isinstance(damage, tuple) else (damage, {})
            yield Member(
                **{"name": f"{kind}/{twin}-{name}", "kind": kind, "twin": twin, "make": make, **options, **own}
            )


def on_slide(damage: Callable[..., Any], *given: Any, **options: Any) -> Damage:
    """A damage of the slide's file alone: `damage(path, *given)`; one that draws takes `rng` by name."""

    def make(_: Path, case: Case, rng: Rng) -> None:
        drawn = {"rng": rng} if "rng" in damage.__code__.co_varnames[: damage.__code__.co_argcount] else {}
        damage(case.slide, *given, **drawn, **options)

    return make


# Intact inputs


def _slide(name: str, **options: Any) -> Callable[[Path], Case]:
    def make(folder: Path) -> Case:
        # As hospitals name files; the sparse ones lie in formats of the same name.
        path = folder / f"{intact.PATIENT}{intact.SUFFIX[name]}"
        image = intact.drawn()
        return Case(
            intact.FORMATS[name](path, image, **options), intact.write_geojson(folder / f"{intact.NAME}.geojson")
        )

    return make


def _in_a_corner(folder: Path) -> Case:
    """Tissue in the first quarter of the slide, at half its size."""
    image = np.full_like(intact.drawn(), intact.GLASS)
    image[: intact.HEIGHT // 2, : intact.WIDTH // 2] = intact.levels(intact.drawn(), 2, 2)[1]
    ring = [[x / 2, y / 2] for x, y in intact.outline()]
    annotation = intact.write_geojson(folder / f"{intact.NAME}.geojson", [intact.geojson(ring)])
    return Case(intact.generic(folder / f"{intact.PATIENT}.tif", image), annotation)


TWINS: dict[str, Callable[[Path], Case]] = {name: _slide(name) for name in intact.FORMATS}
TWINS["sparse"] = _slide("dicom", sparse=True)
TWINS["deflate"] = _slide("generic", codec="deflate")
TWINS["corner"] = _in_a_corner
TWINS["big"] = _slide("generic", bigtiff=True)


def copy_of(twin: Case, target: Path) -> Case:
    """Copy a twin's inputs into a member's own folder, which is named after a patient, too."""
    home = target / f"{intact.NAME}, {intact.PATIENT}"
    shutil.copytree(twin.slide.parent, home)
    return replace(twin, slide=home / twin.slide.name, annotation=twin.annotation and home / twin.annotation.name)
