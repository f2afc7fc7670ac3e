"""Cards of the page, one per slide and run: its pictures, numbers and state, and its place when sorted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.tables import SPLITS, STAGES, splits_of


@dataclass(frozen=True)
class OverlayEntry:
    """Two pictures of a slide: the heatmap over it, and the segmentation over it."""

    slide: str
    run: str
    heatmap_picture: Path | None
    overlay: Path | None


def cards(
    slides: pd.DataFrame,
    metrics: pd.DataFrame,
    tumour: Mapping[str, pd.DataFrame],
    overlays: Sequence[OverlayEntry],
    place: Callable[[str, str, str, Path], str],
) -> list[dict[str, Any]]:
    """Facts for the template, test slides first and what was left out last.

    The first four are as in `drunet.report.page.ReportInputs`; `place` puts a picture, by run, slide, kind and file,
    into the page or beside it and returns its address. A card has run, slide, split, state (as in
    `drunet.report.tumour`, "left out", or empty: not told), reason, mend, dice (values and stages), tumour_mm2, share,
    pictures (kinds and addresses), worst and most (its places by the last Dice, lowest first, and by tumour).
    """
    facts = slides.assign(split=splits_of(slides)).set_index("slide_id").to_dict("index")
    found = {(run, row["slide"]): row for run, table in tumour.items() for row in table.to_dict("records")}
    dice = {key: dict(zip(rows["stage"], rows["dsc"], strict=True)) for key, rows in metrics.groupby(["run", "slide"])}
    made: list[dict[str, Any]] = []
    for entry in overlays:
        row, scores = found.get((entry.run, entry.slide), {}), dice.get((entry.run, entry.slide), {})
        card = {"run": entry.run, "slide": entry.slide, "split": facts.get(entry.slide, {}).get("split", "")}
        card |= {"state": row.get("tumour", ""), **{key: row.get(key) for key in ("tumour_mm2", "share")}}
        card["dice"] = [(scores[stage], stage) for stage in STAGES if pd.notna(scores.get(stage))]
        files = (("heatmap", entry.heatmap_picture), ("segmentation", entry.overlay))
        card["pictures"] = [(kind, place(entry.run, entry.slide, kind, path)) for kind, path in files if path]
        made.append(card)
    made.sort(key=lambda card: SPLITS.index(card["split"]) if card["split"] in SPLITS else len(SPLITS))
    for name, row in facts.items():
        if row["status"] != "ok":
            told = {key: row.get(key) for key in ("split", "reason", "mend", "tumour_mm2")}
            made.append({"run": "", "slide": name, "state": "left out", "dice": [], "pictures": [], **told})
    _rank(made, "worst", lambda card: card["dice"][-1][0] if card["dice"] else 2)
    _rank(made, "most", lambda card: 1 if pd.isna(card["tumour_mm2"]) else -card["tumour_mm2"])
    return made


def _rank(made: list[dict[str, Any]], name: str, key: Callable[[dict[str, Any]], float]) -> None:
    for place, card in enumerate(sorted(made, key=key)):
        card[name] = place
