"""Induced imbalance: which marked areas enter the training set at all.

Paper, "Model training": 40 tumour and 50 non-tumour areas, 10 of which look slightly more like tumour than the
threshold allows; that threshold comes from a model that was trained before. Areas are regions where the annotation is
partial and tiles where it is whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from drunet.errors import TrainingDataError
from drunet.files import AnyPath
from drunet.grid import Grid
from drunet.sampling.crops import Source
from drunet.tiles import TUMOUR, read_table

# Keeps this draw apart from those of the epochs, which use the same seed.
_STREAM = 11
_EVEN = 1e-9


def scored_tiles(path: AnyPath) -> pd.DataFrame:
    """Read a slide's classified tiles: x, y (level-0 px of the top left corner), p_tumour."""
    table, facts = read_table(path)
    x, y = Grid.from_dict(facts["grid"]).tile_origin(table["column"].to_numpy(), table["row"].to_numpy())
    return pd.DataFrame({"x": x, "y": y, "p_tumour": table["p_tumour"].to_numpy(np.float64)})


def induce_imbalance(
    sources: Sequence[Source],
    scored: Sequence[pd.DataFrame],
    slide_ids: Sequence[str],
    *,
    tumour: int,
    non_tumour: int,
    hard: int,
    threshold: float,
    seed: int,
    where: str,
) -> tuple[list[Source], dict[str, Any]]:
    """Keep some tumour areas, some clear non-tumour ones, and those non-tumour ones that a first model just got wrong.

    An area's score is the highest probability of a tile in it. Non-tumour areas are clear up to the threshold, the
    first model's, and hard above it; the hard ones closest to it come first, the others are drawn. Where there are
    fewer areas than asked, all numbers shrink by one factor. Hard ones that are lacking, since a first model can be too
    good, are made up for by clear ones: the imbalance between the classes comes before the hardness.

    `scored`, from `scored_tiles` of a model that did not learn from the slide, and `slide_ids` are parallel to
    `sources`. Areas wanted are `tumour` and `non_tumour`, the `hard` ones among the latter. `where` is the key in the
    configuration, for messages. Returns the same slides with the chosen areas alone, and facts (JSON values):
    threshold; asked, had and used areas by kind; the chosen areas with their scores; note (None where there was as much
    as was asked). Raises TrainingDataError if there is no tumour area, or no clear one where such are asked for.
    """
    table = _areas(sources, scored, threshold)
    had = {kind: table.index[table["kind"] == kind].to_numpy() for kind in ("tumour", "clear", "hard", "unscored")}
    asked = {"tumour": tumour, "clear": non_tumour - hard, "hard": hard}
    used = _shrunk(asked, {kind: len(areas) for kind, areas in had.items()}, where)
    rng = np.random.default_rng([seed, _STREAM])
    by_score = had["hard"][np.argsort(table.loc[had["hard"], "score"].to_numpy(), kind="stable")]
    ordered = {"tumour": rng.permutation(had["tumour"]), "clear": rng.permutation(had["clear"]), "hard": by_score}
    chosen = table.loc[np.sort(np.concatenate([ordered[kind][:count] for kind, count in used.items()]))]
    kept = [source.only(chosen.loc[chosen["slide"] == i, "area"]) for i, source in enumerate(sources)]
    counts = {kind: len(areas) for kind, areas in had.items()}
    facts = {
        "threshold": threshold,
        "asked": asked,
        "had": counts,
        "used": used,
        "areas": [
            {"slide": slide_ids[slide], "x": x, "y": y, "kind": kind, "score": None if np.isnan(s) else round(s, 5)}
            for slide, x, y, kind, s in chosen[["slide", "x", "y", "kind", "score"]].itertuples(index=False, name=None)
        ],
        "note": None if used == asked else _note(asked, counts, used),
    }
    return kept, facts


def _areas(sources: Sequence[Source], scored: Sequence[pd.DataFrame], threshold: float) -> pd.DataFrame:
    """All areas: slide and area (positions), x, y, score, kind."""
    parts = []
    for slide, (source, tiles) in enumerate(zip(sources, scored, strict=True)):
        x, y = source.corners.T
        labels = source.labels
        part = {"slide": slide, "area": np.arange(len(labels)), "x": x, "y": y, "label": labels}
        parts.append(pd.DataFrame({**part, "score": source.scores(tiles)}))
    table = pd.concat(parts, ignore_index=True)
    score = table["score"].to_numpy()
    kinds = [table["label"] == TUMOUR, np.isnan(score), score > threshold]
    return table.assign(kind=np.select(kinds, ["tumour", "unscored", "hard"], default="clear"))


def _shrunk(asked: Mapping[str, int], had: Mapping[str, int], where: str) -> dict[str, int]:
    lacking = [kind for kind in ("tumour", "clear") if asked[kind] and not had[kind]]
    if lacking:
        found = ", ".join(f"{count} {kind}" for kind, count in had.items())
        mend = (
            "Annotate more areas."
            if lacking[0] == "tumour"
            else "Raise `threshold`, or take a better `first_model`: it calls every non-tumour area tumour."
        )
        raise TrainingDataError(f"the imbalance needs {lacking[0]} areas", where=where, found=found, mend=mend)
    non_tumour = asked["clear"] + asked["hard"]
    shares = had["tumour"] / asked["tumour"], had["clear"] / max(asked["clear"], 1)
    factor = min(1.0, *shares, (had["clear"] + had["hard"]) / non_tumour)
    others = max(1, int(non_tumour * factor + _EVEN))
    hard = min(had["hard"], others, round(asked["hard"] * factor))
    clear = min(had["clear"], others - hard)
    return {"tumour": max(1, int(asked["tumour"] * factor + _EVEN)), "clear": clear, "hard": hard}


def _note(asked: Mapping[str, int], had: Mapping[str, int], used: Mapping[str, int]) -> str:
    def listed(numbers: Mapping[str, int]) -> str:
        return ", ".join(f"{numbers[kind]} {kind}" for kind in ("tumour", "clear", "hard"))

    return f"fewer areas than asked for: asked {listed(asked)}; there are {listed(had)}; used {listed(used)}"
