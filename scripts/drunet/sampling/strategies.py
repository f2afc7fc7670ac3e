"""Sampling strategies by name, as a classifier's `data.sampling` gives them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from drunet.sampling.areas import induce_imbalance, scored_tiles
from drunet.sampling.balance import oversample, undersample
from drunet.sampling.crops import Balance, Source, draw_epoch
from drunet.sampling.strata import TileColours, TissueStrata
from drunet.settings.sampling import SamplingSettings
from drunet.slide import Slide

_BALANCES: dict[str, Balance] = {"oversample": oversample, "undersample": undersample}


@dataclass(frozen=True)
class Sampling:
    """What is learnt from: the sources, how an epoch of them is balanced, and what to remember (JSON values)."""

    sources: list[Source]
    balance: Balance | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def sampled(
    sources: Sequence[Source],
    settings: SamplingSettings,
    *,
    seed: int,
    where: str,
    slide_ids: Sequence[str] = (),
    openers: Sequence[Callable[[], Slide]] = (),
    scores: Sequence[str] = (),
    side_um: float = 0.0,
) -> Sampling:
    """Apply a strategy to the training slides, which have a source each; `where` is the key of the block, for messages.

    Strata open the slides by their `openers` and look at tiles of `side_um` µm; an induced imbalance reads files of
    tiles as a first model sees them, `scores`, and calls slides by their ids. Raises TrainingDataError if the slides do
    not show what the strategy needs.
    """
    name = settings.strategy
    taken: dict[str, Any] = {"strategy": name}
    if settings.crops_per_area == "one":
        sources = [source.once_each() for source in sources]
        taken["crops_per_area"] = "one"
    if name == "strata":
        colours = TileColours(openers, side_um)
        strata = TissueStrata(colours, draw_epoch(sources, seed, 0), clusters=settings.clusters, seed=seed, where=where)
        return Sampling(list(sources), strata, {**taken, "clusters": strata.facts})
    if name == "induced_imbalance":
        scored = [scored_tiles(path) for path in scores]
        asked = settings.model_dump(include={"tumour", "non_tumour", "hard", "threshold"})
        kept, facts = induce_imbalance(sources, scored, slide_ids, **asked, seed=seed, where=where)
        return Sampling(kept, None, {**taken, "first_model": settings.first_model, **facts})
    return Sampling(list(sources), _BALANCES.get(name), taken)
