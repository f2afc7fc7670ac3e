"""Flips and quarter turns, the same for every array of a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways in which a square can lie: rows and columns reversed first, then turned by 90 degrees so
    many times, anticlockwise.
    """

    upside_down: bool = False
    mirrored: bool = False
    quarter_turns: int = 0


def draw_orientation(
    rng: np.random.Generator, size: tuple[int, int], *, flip: bool = True, quarter_turns: bool = True
) -> Orientation:
    """Draw each flip with probability one half and the number of quarter turns uniformly.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : (int, int)
        Height and width of the sample, px; one that is not square is turned by 180 degrees only, to keep its shape.
    flip, quarter_turns : bool
        What may be drawn at all.
    """
    upside_down, mirrored = (bool(side) for side in rng.integers(0, 2, size=2)) if flip else (False, False)
    turns = int(rng.integers(0, 4)) if quarter_turns else 0
    if size[0] != size[1]:
        turns &= 2
    return Orientation(upside_down, mirrored, turns)


def reorient(orientation: Orientation, *arrays: NDArray) -> tuple[NDArray, ...]:
    """Lay arrays (h, w) or (h, w, channels) of any dtype as an orientation says; what comes back is contiguous.

    Examples
    --------
    >>> (turned,) = reorient(Orientation(quarter_turns=1), np.array([[1, 2], [3, 4]]))
    >>> turned
    array([[2, 4],
           [1, 3]])
    """
    rows, columns = (
        slice(None, None, -1 if flipped else 1) for flipped in (orientation.upside_down, orientation.mirrored)
    )
    turns = orientation.quarter_turns
    return tuple(np.ascontiguousarray(np.rot90(array[rows, columns], turns, axes=(0, 1))) for array in arrays)
