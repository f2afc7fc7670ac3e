"""Augmentation of one training sample, as the configuration's `augment` blocks ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drunet.augment.colour import adjust_brightness, adjust_contrast, adjust_hue_saturation
from drunet.augment.geometry import draw_orientation, reorient
from drunet.augment.multi_lens import CENTRE_RANGES, coordinate_map, draw_lenses, resample
from drunet.errors import ConfigError, closest


@dataclass(frozen=True)
class MultiLens:
    """How multi-lens distortion is drawn; see `drunet.augment.multi_lens.draw_lenses`.

    Attributes
    ----------
    lenses : int
        Lenses per sample.
    radius : (int, int)
        px, [min, max).
    strength : (float, float)
        Positive magnifies, negative shrinks.
    probability : float
        Share of the samples that are distorted.
    centres : str
        "anywhere" or "inside".
    """

    lenses: int
    radius: tuple[int, int]
    strength: tuple[float, float]
    probability: float = 1.0
    centres: str = "anywhere"


@dataclass(frozen=True)
class Augmentation:
    """A callable that changes one sample at random.

    Orientation comes first, then colour (hue, saturation, contrast, brightness), then lenses. What is left at its
    default is not done and draws nothing.

    Attributes
    ----------
    flip, quarter_turns : bool
        Geometry, for all arrays of the sample.
    hue : float
        Largest turn of the hue either way, share of the colour circle.
    contrast, saturation : (float, float) or None
        Range of the factor.
    brightness : float
        Largest shift either way, share of the full range.
    multi_lens : MultiLens or None
    """

    flip: bool = False
    quarter_turns: bool = False
    hue: float = 0.0
    contrast: tuple[float, float] | None = None
    saturation: tuple[float, float] | None = None
    brightness: float = 0.0
    multi_lens: MultiLens | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None, *, where: str = "augment") -> Augmentation:
        """Read an `augment` block; null, for the block or for a key, means that nothing is done.

        Parameters
        ----------
        config : mapping or None
        where : str
            The block's key, for messages.

        Raises
        ------
        ConfigError
            For an unknown key or a value out of range.
        """
        given = _known_keys(config, cls, where)
        values: dict[str, Any] = {}
        for name in ("flip", "quarter_turns"):
            if name in given:
                values[name] = _switch(given[name], f"{where}.{name}")
        for name, most in (("hue", 0.5), ("brightness", 1.0)):
            if name in given:
                values[name] = _number(given[name], f"{where}.{name}", 0.0, most)
        for name in ("contrast", "saturation"):
            if name in given:
                values[name] = _range(given[name], f"{where}.{name}", 0.0, np.inf)
        if "multi_lens" in given:
            values["multi_lens"] = _multi_lens(given["multi_lens"], f"{where}.multi_lens")
        return cls(**values)

    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8], *others: NDArray) -> tuple[NDArray, ...]:
        """Change one sample.

        Parameters
        ----------
        rng : numpy.random.Generator
        image : uint8 array (h, w, 3), RGB
            Takes every change.
        *others : arrays (h, w) or (h, w, channels), any dtype
            Heatmap, mask: take the geometric changes, the same as the image.

        Returns
        -------
        tuple of arrays
            The image and the others, in the order given; those that came in are left as they were.
        """
        if any(other.shape[:2] != image.shape[:2] for other in others):
            raise ValueError("all arrays of a sample have the same height and width")
        if self.flip or self.quarter_turns:
            orientation = draw_orientation(rng, image.shape[:2], flip=self.flip, quarter_turns=self.quarter_turns)
            image, *rest = reorient(orientation, image, *others)
        else:
            rest = list(others)
        arrays = (self._recolour(rng, image), *rest)
        lens = self.multi_lens
        if lens is None or rng.random() >= lens.probability:
            return arrays
        size = image.shape[:2]
        drawn = draw_lenses(rng, size, lens.lenses, lens.radius, lens.strength, centres=lens.centres)
        sources = coordinate_map(size, drawn)
        return tuple(resample(array, sources) for array in arrays)

    def _recolour(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        hue = rng.uniform(-self.hue, self.hue) if self.hue else 0.0
        saturation = rng.uniform(*self.saturation) if self.saturation else 1.0
        if self.hue or self.saturation:
            image = adjust_hue_saturation(image, hue, saturation)
        if self.contrast:
            image = adjust_contrast(image, rng.uniform(*self.contrast))
        if self.brightness:
            image = adjust_brightness(image, rng.uniform(-self.brightness, self.brightness))
        return image


def _known_keys(config: Any, kind: type, where: str) -> dict[str, Any]:
    """Return what is set, having refused keys that `kind` has no field for."""
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        raise ConfigError("a block of keys is needed here", where=where, found=config, mend="Use null for none.")
    known = [field.name for field in fields(kind)]
    for key in config:
        if key not in known:
            raise ConfigError("unknown key", where=f"{where}.{key}", mend=closest(key, known))
    return {key: value for key, value in config.items() if value is not None}


def _multi_lens(config: Any, where: str) -> MultiLens:
    given = _known_keys(config, MultiLens, where)
    missing = [name for name in ("lenses", "radius", "strength") if name not in given]
    if missing:
        raise ConfigError(f"{', '.join(missing)} missing", where=where, mend="Set it, or multi_lens to null for none.")
    lenses = _number(given["lenses"], f"{where}.lenses", 0, np.inf)
    radius = _range(given["radius"], f"{where}.radius", 1, np.inf)
    for value, name in ((lenses, "lenses"), (radius[0], "radius"), (radius[1], "radius")):
        if value != int(value):
            raise ConfigError("a whole number is needed", where=f"{where}.{name}", found=value, mend="Round it.")
    if radius[0] == radius[1]:
        mend = "The upper end is never drawn: for one fixed radius write [r, r + 1]."
        raise ConfigError("the range is empty", where=f"{where}.radius", found=given["radius"], mend=mend)
    centres = given.get("centres", "anywhere")
    if centres not in CENTRE_RANGES:
        mend = f"Use one of: {', '.join(CENTRE_RANGES)}."
        raise ConfigError("unknown range of centres", where=f"{where}.centres", found=centres, mend=mend)
    return MultiLens(
        lenses=int(lenses),
        radius=(int(radius[0]), int(radius[1])),
        strength=_range(given["strength"], f"{where}.strength", -1.0, 1.0),
        probability=_number(given.get("probability", 1.0), f"{where}.probability", 0.0, 1.0),
        centres=centres,
    )


def _switch(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError("true or false is needed", where=where, found=value, mend="Write true or false.")
    return value


def _number(value: Any, where: str, least: float, most: float) -> float:
    # A bool is a number to Python; `hue: true` is a mistake to a user.
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= most:
        bounds = f"at least {least:g}" if most == np.inf else f"between {least:g} and {most:g}"
        raise ConfigError("a number out of range, or none", where=where, found=value, mend=f"Give a number {bounds}.")
    return float(value)


def _range(value: Any, where: str, least: float, most: float) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ConfigError("a range is needed", where=where, found=value, mend="Write it as [lowest, highest].")
    low, high = (_number(end, where, least, most) for end in value)
    if low > high:
        raise ConfigError("the range is upside down", where=where, found=value, mend="Write it as [lowest, highest].")
    return low, high
