"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from studies.common.study_settings import Study
from studies.ct_boxes.tasks import check_tasks


def completed(study: Study) -> None:
    """Refuse folders, subtypes and arms that do not fit each other.

    Raises
    ------
    DrunetError
    """
    check_tasks(study.name, study.settings)
