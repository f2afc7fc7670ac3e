"""How images are divided for training and test: the protocols by name, told without importing what carries them out."""

from collections.abc import Mapping
from typing import Any

# The published ones first, the honest one last: pictures and exported models are of the last that a study has.
# random: image by image. given: in the parts that the folders of a set name. grouped: what stems from one source stays
# whole.
PROTOCOLS = ("random", "given", "grouped")


def folds_of(split: Mapping[str, Any], protocol: str) -> list[int]:
    """The folds of a task's `split` that are trained under a protocol: all, or its `run` (perhaps by protocol).

    Parts have the single fold 0, whatever the split says of given ones.
    """
    if "parts" in split or protocol == "given":
        return [0]
    run = split.get("run", {})
    folds = run.get(protocol) if isinstance(run, Mapping) else run
    return list(range(split["folds"]) if folds is None else folds)
