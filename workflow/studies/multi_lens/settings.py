"""What the settings of this study must fulfil beyond their schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drunet.errors import ConfigError, closest
from studies.common.user_paths import is_folder, is_there
from studies.multi_lens.arms import image_sets_of


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse sets of images that are not there or serve for training and testing, and an empty range of radii.

    Raises
    ------
    ConfigError
    """
    datasets = image_sets_of(settings)
    if not datasets:
        mend = "Name files, or {embedded: digits}."
        raise ConfigError("no set of images is left", where="study_settings.multi_lens.datasets", mend=mend)
    radius = settings["multi_lens"]["radius"]
    if radius[0] >= radius[1]:
        where, mend = "study_settings.multi_lens.multi_lens.radius", "Write [smallest, largest + 1]."
        raise ConfigError("the range is empty", where=where, found=radius, mend=mend)
    for name in settings["sweep"]["datasets"]:
        if name not in settings["datasets"]:
            where, mend = "study_settings.multi_lens.sweep.datasets", closest(name, datasets)
            raise ConfigError("no such set of images", where=where, found=name, mend=mend)
    for name, files in datasets.items():
        for part in ("training", "test"):
            for path in files.get(part, []):
                if not is_there(path):
                    where = f"study_settings.multi_lens.datasets.{name}.{part}"
                    mend = "Correct the path; relative ones start in the working directory."
                    raise ConfigError("the file is not there", where=where, found=path, mend=mend)
        twice = [f for f in set(files.get("training", [])) & set(files.get("test", [])) if not _may_hold_both(f)]
        if twice:
            where, mend = f"study_settings.multi_lens.datasets.{name}", "Name other files for one of the parts."
            raise ConfigError("one file serves for training and testing", where=where, found=twice[0], mend=mend)


def _may_hold_both(path: str) -> bool:
    return path.endswith((".npz", ".zip")) or is_folder(path)
