"""Sampling strategies by name, as a classifier's `data.sampling` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drunet.errors import ConfigError
from drunet.sampling.areas import induce_imbalance, scored_tiles
from drunet.sampling.balance import oversample, undersample
from drunet.sampling.crops import Balance, Source, draw_epoch
from drunet.sampling.strata import TileColours, TissueStrata
from drunet.slide import Slide

# Options of each strategy and what they are where nothing is said; None has to be said.
STRATEGIES: dict[str, dict[str, Any]] = {
    "as_is": {},
    "oversample": {},
    "undersample": {},
    "strata": {"clusters": 4},
    "induced_imbalance": {"first_model": None, "tumour": 40, "non_tumour": 50, "hard": 10, "threshold": 0.5},
}
_BALANCES: dict[str, Balance] = {"oversample": oversample, "undersample": undersample}


@dataclass(frozen=True)
class LearningSlides:
    """What a strategy may look at, one entry a slide.

    Attributes
    ----------
    slide_ids : list of str
    openers : list of callables
        Each opens the slide.
    scores : list of str
        Files of tiles as a first model sees them; empty where the strategy has no first model.
    side_um : float
        Side of a tile in µm.
    """

    slide_ids: Sequence[str]
    openers: Sequence[Callable[[], Slide]]
    scores: Sequence[str]
    side_um: float


@dataclass(frozen=True)
class Sampling:
    """What is learnt from: the sources, how an epoch of them is balanced, and what to remember (JSON values)."""

    sources: list[Source]
    balance: Balance | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def checked_strategy(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fill in a `sampling` block.

    Parameters
    ----------
    config : mapping
        strategy, and options of that strategy.
    where : str
        Its key, for messages.

    Returns
    -------
    dict
        strategy and all of its options.

    Raises
    ------
    ConfigError
        Unknown strategy, an option that it does not have or cannot have, or one that is missing.
    """
    name = config.get("strategy")
    if name not in STRATEGIES:
        raise ConfigError(
            "unknown sampling strategy", where=f"{where}.strategy", found=name, mend=f"Known: {', '.join(STRATEGIES)}."
        )
    options = {**STRATEGIES[name], **{key: value for key, value in config.items() if key != "strategy"}}
    if foreign := sorted(set(options) - set(STRATEGIES[name])):
        raise ConfigError(
            f"the strategy {name} has no such option",
            where=where,
            found=", ".join(foreign),
            mend=f"Its options: {', '.join(STRATEGIES[name]) or 'none'}.",
        )
    if missing := [key for key, value in options.items() if value is None]:
        mend = f"Name a classifier under `{missing[0]}`."
        raise ConfigError(f"the strategy {name} needs {missing[0]}", where=where, found="nothing", mend=mend)
    if "hard" in options and options["hard"] > options["non_tumour"]:
        raise ConfigError(
            "there cannot be more hard areas than non-tumour areas",
            where=f"{where}.hard",
            found=f"{options['hard']}, with non_tumour {options['non_tumour']}",
            mend="Hard areas are among the non-tumour areas (paper: 10 of 50).",
        )
    return {"strategy": name, **options}


def sampled(
    sources: Sequence[Source], slides: LearningSlides, config: Mapping[str, Any], *, seed: int, where: str
) -> Sampling:
    """Apply a strategy to the training slides.

    Parameters
    ----------
    sources : list of GridTiles or RegionCrops
        One a slide.
    slides : LearningSlides
        In the order of `sources`.
    config : mapping
        A `sampling` block.
    seed : int
    where : str
        Key of the block, for messages.

    Raises
    ------
    ConfigError, TrainingDataError
        If the block is wrong, or the slides do not show what the strategy needs.
    """
    options = checked_strategy(config, where)
    name = options.pop("strategy")
    if name == "strata":
        colours = TileColours(slides.openers, slides.side_um)
        strata = TissueStrata(colours, draw_epoch(sources, seed, 0), **options, seed=seed, where=where)
        return Sampling(list(sources), strata, {"strategy": name, "clusters": strata.facts})
    if name == "induced_imbalance":
        first = options.pop("first_model")
        scored = [scored_tiles(path) for path in slides.scores]
        kept, facts = induce_imbalance(sources, scored, slides.slide_ids, **options, seed=seed, where=where)
        return Sampling(kept, None, {"strategy": name, "first_model": first, **facts})
    return Sampling(list(sources), _BALANCES.get(name), {"strategy": name})
