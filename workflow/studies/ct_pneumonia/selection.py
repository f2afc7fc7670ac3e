"""Random draw of some images of a class, by patient.

Source: Chu et al., section 2.1: 1,014 slices of 101 random patients of Lung-PET-CT-Dx, which has some 250,000 of 355.
They do not say how slices are chosen of a patient.
"""

from collections import defaultdict
from collections.abc import Mapping
from itertools import zip_longest

import numpy as np
from pydantic import Field

from drunet.settings.base import Block


class ClassDraw(Block):
    """What is drawn of a class."""

    annotated: bool = False
    """only CT slices that have a box among `annotations`"""
    patients: int | None = Field(default=None, ge=1)
    """patients, or other sources, drawn at random; null: all"""
    per_patient: int | None = Field(default=None, ge=1)
    """images of each at most; null: all"""
    images: int | None = Field(default=None, ge=1)
    """images in all, as evenly from all patients as there are; null: all"""


def choose(sources: Mapping[int, str], plan: ClassDraw, rng: np.random.Generator) -> list[int]:
    """Draw images by the source of each: sorted numbers, no more than there are.

    After the patients, images are drawn in rounds, one of each patient in turn: every patient that is drawn takes part,
    and one with many slices has no more of them than the others, as long as these have any left.
    """
    own: defaultdict[str, list[int]] = defaultdict(list)
    for number, source in sorted(sources.items()):
        own[source].append(number)
    names = sorted(own)
    drawn = [own[names[k]] for k in rng.permutation(len(names))[: plan.patients]]
    mixed = [[some[k] for k in rng.permutation(len(some))[: plan.per_patient]] for some in drawn]
    rounds = [number for turn in zip_longest(*mixed) for number in turn if number is not None]
    return sorted(rounds[: plan.images])
