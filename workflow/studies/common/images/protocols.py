"""How images are divided for training and test: the protocols by name, told without importing what carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The published ones first, the honest one last: pictures and exported models are of the last that a study has.
# random: image by image. given: in the parts that the folders of a set name. grouped: what stems from one source stays
# whole.
PROTOCOLS = ("random", "given", "grouped")


def folds_of(split: Mapping[str, Any], protocol: str) -> list[int]:
    """The folds of a task's `split` that are trained under a protocol.

    Parameters
    ----------
    split : mapping
        `{parts: …}`, which has the single fold 0, or `{folds: n}`, perhaps with `run`: the folds that are trained,
        under every protocol or by the name of each; without it, or without the protocol in it, all of them.
    protocol : str
        Given parts are one fold too, 0, whatever the split says.
    """
    if "parts" in split or protocol == "given":
        return [0]
    run = split.get("run", {})
    folds = run.get(protocol) if isinstance(run, Mapping) else run
    return list(range(split["folds"]) if folds is None else folds)
