"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError
from studies.common.clustering.sharing import ARCHITECTURES, cluster_owners


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse classifiers of which none learns clusters (raises ConfigError)."""
    if not cluster_owners(settings["arms"], config["classifiers"]):
        mend = f"Name a classifier of architecture {' or '.join(ARCHITECTURES)}."
        raise ConfigError("no arm learns clusters", where="study_settings.clustering.arms", mend=mend)
