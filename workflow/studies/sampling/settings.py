"""What the settings of this study may be, and which classifiers its arms take."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from drunet.errors import ConfigError
from drunet.settings.base import Block, kind_of
from studies.common.settings import ArmId, Resamples

# An arm's threshold when it is tuned on the classifier's own validation slides.
TUNED = "validation"


class Arm(Block):
    """A classifier and its threshold."""

    classifier: str
    """a name under classifiers"""
    threshold: Annotated[
        Annotated[float, Field(gt=0, lt=1), Tag("number")] | Annotated[Literal["validation"], Tag("string")],
        Discriminator(kind_of),
    ]
    """from which probability on a tile is tumour; validation: that of highest F1 on validation slides"""


class Settings(Block):
    """Settings of study_sampling."""

    bootstrap: Resamples
    """bootstrap draws of patients"""
    reference: str
    """the arm that every other is tested against"""
    arms: Annotated[dict[ArmId, Arm | None], Field(min_length=2)]
    """what is compared, in this order; null leaves one out"""


def models_of(arms: Mapping[str, Mapping[str, Any]], *, tuned: bool = False) -> list[str]:
    """Classifiers of the arms, each once; `tuned`: only of those whose threshold is."""
    return list(dict.fromkeys(a["classifier"] for a in arms.values() if not tuned or a["threshold"] == TUNED))


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse a threshold that would be tuned where there are no validation slides (raises ConfigError)."""
    for name, arm in settings["arms"].items():
        if arm["threshold"] == TUNED and "onnx" in config["classifiers"][arm["classifier"]]:
            what = "a finished model has no validation slides, on which its threshold could be tuned"
            where, found = f"study_settings.sampling.arms.{name}.threshold", f"{TUNED}, of {arm['classifier']}"
            mend = "Write a number, or name a classifier that is trained here."
            raise ConfigError(what, where=where, found=found, mend=mend)
