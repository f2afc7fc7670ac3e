"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from studies.common.images.tasks import check_tasks
from studies.common.study_settings import Study


def completed(study: Study) -> None:
    """Refuse tasks and arms that do not fit each other.

    Raises
    ------
    DrunetError
    """
    check_tasks(study.name, study.settings)
