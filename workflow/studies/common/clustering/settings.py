"""Settings of models over clusters: how clusters are searched for, and how episodes are made."""

from typing import Literal

from pydantic import Field

from drunet.settings.base import Block


class Search(Block):
    """What the optimiser may spend on clusters: `data.clustering` of a model."""

    max_clusters: int = Field(ge=2)
    """at most so many clusters"""
    components: int = Field(ge=1)
    """principal components of the features in which clusters are looked for"""
    population: int = Field(ge=5)
    """individuals"""
    generations: int = Field(ge=1)
    """how often they are replaced"""
    seconds: float = Field(ge=1)
    """after which the search ends early; what it then finds depends on the machine: a bound for when something is
    wrong, not a setting to tune"""
    min_tiles: int = Field(ge=1)
    """a cluster holds at least so many tiles"""
    tiles: int = Field(ge=4)
    """at most so many tiles are clustered"""
    fitness: Literal["variance_ratio", "silhouette"] = "variance_ratio"
    """a measure from workflow/studies/common/clustering/evolution.py"""


class EpisodePlan(Block):
    """How few-shot episodes are made: `data.episodes` of a model."""

    shots: int = Field(ge=1)
    """tiles per class from which prototypes are made; published 2"""
    queries: int = Field(ge=1)
    """tiles per class that are then classified; published 3"""
    count: int = Field(ge=1)
    """episodes per epoch; the published 100 are those of all epochs"""
    ways: int | None = Field(ge=2)
    """classes per episode, where there are so many; null: all"""
    prototypes: Literal["all", "shots"] = "all"
    """tiles whose mean embeddings are the prototypes in the end: all of a class, or as many as it has shots"""

    @property
    def tiles(self) -> int:
        """Tiles that an episode takes of a class."""
        return self.shots + self.queries
