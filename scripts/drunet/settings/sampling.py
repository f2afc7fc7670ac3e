"""Settings of the sampling strategy: which labelled tiles an epoch shows."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from drunet.settings.base import AS_GIVEN, Block, refusal

# Options of each strategy.
STRATEGIES: dict[str, tuple[str, ...]] = {
    "as_is": (),
    "oversample": (),
    "undersample": (),
    "strata": ("clusters",),
    "induced_imbalance": ("first_model", "tumour", "non_tumour", "hard", "threshold"),
}


class SamplingSettings(Block):
    """A sampling strategy and its options; see `drunet.sampling.strategies.sampled`."""

    strategy: Literal["as_is", "oversample", "undersample", "strata", "induced_imbalance"]
    """which of the labelled tiles an epoch shows"""
    crops_per_area: Literal["by_area", "one"] = "by_area"
    """crops of a marked region in an epoch: as many as tiles fit into its area; or one, as in the paper"""
    clusters: int = Field(default=4, ge=2, le=32)
    """strata: number of tissue clusters by colour"""
    first_model: str | None = None
    """induced_imbalance: classifier whose mistakes define the hard areas"""
    tumour: int = Field(default=40, ge=1)
    """induced_imbalance: number of tumour areas"""
    non_tumour: int = Field(default=50, ge=1)
    """induced_imbalance: number of non-tumour areas, hard ones included"""
    hard: int = Field(default=10, ge=0)
    """induced_imbalance: number of hard non-tumour areas"""
    threshold: Annotated[float, Field(ge=0, le=1), AS_GIVEN] = 0.5
    """induced_imbalance: probability of tumour from which the first model is taken to say tumour"""

    @model_validator(mode="after")
    def _own_options(self) -> Self:
        name, own = self.strategy, STRATEGIES[self.strategy]
        given = {key for key in self.model_fields_set if getattr(self, key) is not None}
        if foreign := sorted(given - {"strategy", "crops_per_area", *own}):
            raise refusal(
                f"the strategy {name} has no such option",
                found=", ".join(foreign),
                mend=f"Its options: {', '.join(own) or 'none'}.",
            )
        if "first_model" in own and self.first_model is None:
            mend = "Name a classifier under `first_model`."
            raise refusal(f"the strategy {name} needs first_model", found="nothing", mend=mend)
        if "hard" in own and self.hard > self.non_tumour:
            raise refusal(
                "there cannot be more hard areas than non-tumour areas",
                key="hard",
                found=f"{self.hard}, with non_tumour {self.non_tumour}",
                mend="Hard areas are among the non-tumour areas (paper: 10 of 50).",
            )
        return self
