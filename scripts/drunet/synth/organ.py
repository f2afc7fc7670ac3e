"""What tells the slides of one organ from those of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from drunet.synth.canvas import Canvas, Look
from drunet.synth.layout import Kind, Shares


@dataclass(frozen=True)
class Organ:
    """An organ of the demo cohort.

    Attributes
    ----------
    look : callable
        Draws a patient's stain and tumour: every block of a patient was stained in the same bath.
    shares : callable
        Draws how much of each tissue a slide holds, given the share of tumour.
    own_tissues : tuple of callables
        Paint the tissues that only this organ has.
    regions : dict
        How many regions of each kind are marked on a partially annotated slide, at most.
    """

    look: Callable[[np.random.Generator], Look]
    shares: Callable[[np.random.Generator, float], Shares]
    own_tissues: tuple[Callable[[Canvas], None], ...]
    regions: dict[Kind, int]
