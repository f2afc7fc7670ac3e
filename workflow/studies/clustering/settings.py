"""What the settings of this study may be."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from drunet.errors import ConfigError
from drunet.settings.base import Block
from studies.common.clustering.sharing import ARCHITECTURES, cluster_owners
from studies.common.settings import ArmId, ClassifierArm, Resamples


class Settings(Block):
    """Settings of study_clustering."""

    bootstrap: Resamples
    """bootstrap draws of patients"""
    arms: Annotated[dict[ArmId, ClassifierArm | None], Field(min_length=1)]
    """what is compared, in this order; null leaves one out"""


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse classifiers of which none learns clusters (raises ConfigError)."""
    if not cluster_owners(settings["arms"], config["classifiers"]):
        mend = f"Name a classifier of architecture {' or '.join(ARCHITECTURES)}."
        raise ConfigError("no arm learns clusters", where="study_settings.clustering.arms", mend=mend)
