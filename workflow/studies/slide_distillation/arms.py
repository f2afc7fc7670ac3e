"""Arms of the study `slide_distillation`: which runs each has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The runs of an arm, with and without refiner, and what the stages of each are called there: the heatmap is the same.
STAGES_OF = {
    "run": {"heatmap": "heatmap", "refined": "refined", "segmentation": "segmentation"},
    "alone": {"heatmap": "heatmap", "segmentation": "unrefined"},
}


def runs_of(arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Runs that the arms name, each once."""
    return list(dict.fromkeys(arm[way] for arm in arms.values() for way in STAGES_OF if arm[way]))
