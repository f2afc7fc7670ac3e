"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from studies.common.images.tasks import check_tasks
from studies.common.study_settings import Study
from studies.ct_pneumonia.network_table import with_networks


def completed(study: Study) -> Study:
    """A study with an arm for each network of its table; refuses tasks and arms that do not fit each other.

    Raises
    ------
    DrunetError
    """
    settings = with_networks(study.settings, Path(__file__).parent, f"study_settings.{study.name}")
    check_tasks(study.name, settings)
    return replace(study, settings=settings)
