"""Whether a slide looks like those that a classifier learnt from, by stain and detail; docs/trust.md has the rule."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drunet.errors import ModelError
from drunet.files import AnyPath
from drunet.quality import cell_rich, focus

LIKE, UNLIKE, CANNOT_TELL = "like", "unlike", "cannot tell"
NOT_MEASURED = "its tiles were not measured (a cascade or a head on an encoder never does)"
# Traits of a slide, and the least that counts as a spread: reference slides may be more alike than any others.
TRAITS = {
    "amount of stain": 0.05,
    "red against green": 0.03,
    "blue against green": 0.03,
    "variety of stain": 0.05,
    "sharpness": 0.1,
    "grain": 0.1,
    "detail of 2 µm": 0.1,
    "detail of 5 µm": 0.15,
}
# Fewer slides than this tell nothing; of like slides this share may be called unlike, where there are enough for it.
FEWEST, ALARMS = 5, 0.05
# Spreads beyond which the reference slides' own traits count no further, and how many traits are told.
_LARGEST, _TOLD = 4.0, 3


def traits(table: pd.DataFrame) -> list[float] | None:
    """A slide's traits in the order of `TRAITS`, from its tiles (`drunet.quality.MEASURES`); None if not to be told.

    All are logarithms: what makes every slide a tenth darker moves all alike. Amount and details are medians of the
    cell-rich tiles, the others of all tiles, so that the mixture of tissue counts little.
    """
    if "fine" not in table or not len(table):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        rich = cell_rich(table) & np.isfinite(focus(table))
        grain, fine, middle, coarse, red, green, blue = (
            np.log(table[name].to_numpy(np.float64))
            for name in ("grain", "fine", "middle", "coarse", "red", "green", "blue")
        )
        amount = np.log(np.exp(red) + np.exp(green) + np.exp(blue))
    if not rich.any() or not np.isfinite(amount[rich]).all():
        return None
    detail = [np.median(values[rich]) for values in (fine - coarse, grain - fine, middle - coarse, coarse)]
    variety = np.subtract(*np.nanpercentile(amount, (75, 25)))
    found = [np.median(amount[rich]), np.nanmedian(red - green), np.nanmedian(blue - green), variety, *detail]
    return [round(float(value), 5) for value in found] if np.isfinite(found).all() else None


def reference(tables: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """What slides that a classifier learnt from look like, as JSON values: their traits, without their names."""
    return {"traits": list(TRAITS), "slides": sorted(own for table in tables if (own := traits(table)) is not None)}


def read_reference(path: AnyPath | None) -> dict[str, Any] | None:
    """Read what `reference` gave; None without a file. Raises ModelError if it is not such."""
    if not path:
        return None
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = np.array(found["slides"], np.float64)
        fits = found["traits"] == list(TRAITS) and (not rows.size or rows.shape[1:] == (len(TRAITS),))
    except (ValueError, TypeError, KeyError):
        fits = False
    if not fits or not np.isfinite(rows).all():
        mend = "Take the file that this version makes beside a trained classifier, or leave out `appearance`."
        raise ModelError("the file does not say what a classifier learnt from", where=os.fspath(path), mend=mend)
    return dict(found)


def likeness(table: pd.DataFrame, learnt: Mapping[str, Any] | None) -> dict[str, str]:
    """`appearance`: `LIKE`, `UNLIKE` or `CANNOT_TELL`; and `unlike_in`: the three most unlike traits, or why it cannot.

    A slide is unlike if it lies farther from the reference than its slides do, each from all others and this one. As
    all n + 1 are treated alike, a slide like them is called unlike with a probability of at most `false_alarms`
    (conformal prediction, Vovk, Gammerman, Shafer 2005).
    """
    rows, own = np.array((learnt or {}).get("slides", []), np.float64).reshape(-1, len(TRAITS)), traits(table)
    if own is None:
        why = "its tiles show too little" if "fine" in table else NOT_MEASURED
        return {"appearance": CANNOT_TELL, "unlike_in": why}
    if len(rows) < FEWEST:
        known = f"of {len(rows)} slides only" if len(rows) else "of no slide"
        return {"appearance": CANNOT_TELL, "unlike_in": f"what the model learnt from is known {known}"}
    everyone = np.vstack([rows, own])
    far = np.array([_distance(row, np.delete(everyone, place, axis=0)) for place, row in enumerate(everyone)])
    # A slide that was learnt from is among the rows: odd among them it may be, unlike what was learnt it is not.
    if (rows == own).all(axis=1).any() or far[-1] <= np.sort(far[:-1])[-_allowed(len(rows))]:
        return {"appearance": LIKE, "unlike_in": ""}
    middle, spread = _spread(rows)
    away = (own - middle) / spread
    told = [f"{list(TRAITS)[k]} {'+' if away[k] > 0 else '-'}" for k in np.argsort(-np.abs(away), kind="stable")]
    return {"appearance": UNLIKE, "unlike_in": ", ".join(told[:_TOLD])}


def withdrawn(found: Mapping[str, str]) -> str:
    """Why no bound on missed tumour is given for a slide of that `likeness`; empty if it holds."""
    if found["appearance"] != UNLIKE:
        return ""
    return f"withdrawn: the slide is unlike those that the model learnt from ({found['unlike_in']})"


def false_alarms(count: int) -> float:
    """The largest probability with which a slide like the `count` of a reference is called unlike; 0 below `FEWEST`."""
    return _allowed(count) / (count + 1) if count >= FEWEST else 0.0


def _allowed(count: int) -> int:
    return max(1, int(ALARMS * (count + 1)))


def _spread(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = np.median(rows, axis=0)
    return middle, np.maximum(1.4826 * np.median(np.abs(rows - middle), axis=0), list(TRAITS.values()))


def _distance(row: np.ndarray, others: np.ndarray) -> float:
    """Squared Mahalanobis distance; few slides tell little of how traits go together, and count for less there."""
    middle, spread = _spread(others)
    known = np.clip((others - middle) / spread, -_LARGEST, _LARGEST)
    count, kinds = known.shape
    trust = count / (count + kinds)
    together = trust * np.einsum("ni,nj->ij", known, known) / count + (1 - trust) * np.eye(kinds)
    away = (row - middle) / spread
    return float(away @ np.linalg.solve(together, away))
