"""What the settings of this study may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from drunet.errors import ConfigError, closest
from drunet.settings.base import Block, Share, kind_of
from drunet.settings.network import Weights
from studies.common.ct.window import Window
from studies.common.images.settings import ArmsSettings, ImageStudy
from studies.common.images.tasks import check_tasks, classes_of
from studies.common.settings import Id, Score, SomeShare, Text
from studies.ct_pneumonia.network_table import with_networks
from studies.ct_pneumonia.selection import ClassDraw

_Size = Annotated[int, Field(ge=32, le=1024)]


class CollectSettings(Block):
    """Which files are read, and how."""

    root: Text | None
    """folder with a folder per class; null: the embedded set"""
    annotations: Text | None
    """folder of Pascal VOC files; null: no boxes"""
    sources: Text | None
    """table (file, source); null: patients of DICOM files alone"""
    window: Window
    """window of DICOM files"""
    max_unreadable: Share
    """share of unreadable files above which it stops"""
    draw: dict[str, ClassDraw | None] = Field(default_factory=dict)
    """what is drawn of a class at random, by its name; null, or a class not named: all images"""
    balance: bool = False
    """bring all classes to the size of the smallest one, at random"""


class NetworksSettings(Block):
    """Arms made of a table."""

    table: Text
    """file in the study's folder, or a path"""
    size: Annotated[
        Annotated[None, Tag("null")]
        | Annotated[_Size, Tag("number")]
        | Annotated[dict[str, _Size], Field(min_length=1), Tag("object")],
        Discriminator(kind_of),
    ]
    """px of all networks, or of each by name; null, or one not named: the table's"""
    weights: Weights
    """random, imagenet, or a file per backbone"""
    freeze: Annotated[
        Annotated[Literal["published"], Tag("string")] | Annotated[Share, Tag("number")], Discriminator(kind_of)
    ]
    """published: the table's layers learn; or the share of layers held fixed"""
    learning_rate: SomeShare | None
    """of all networks; null: the table's"""
    epsilon: SomeShare | None
    """Adam's, of all networks; null: the table's"""


class ArmDifference(Block, extra="allow"):
    """What differs from a row of the table, or from another arm; or an arm of its own."""

    like: Text = ""
    """another arm that it is like but for what it says"""


class ProbeSettings(Block):
    """When the page warns that the accuracy may come from the source."""

    alarm: float = Field(ge=0.5, le=1)
    """lower bound of a probe's AUC"""


class AttentionSettings(Block):
    """Where the networks see evidence."""

    images: int = Field(ge=1, le=12)
    """images that are shown"""
    coverage_images: int = Field(ge=1, le=1000)
    """images whose boxes are compared"""
    threshold: SomeShare
    """share of a map's maximum that is highlighted"""
    found: float = Field(ge=0, lt=1)
    """share of a box that is to be exceeded"""
    score: Score
    """what is differentiated"""
    layer: dict[str, Text | None]
    """layer whose map is compared and shown, by arm; null, or an arm not named: the last one with all channels"""
    layers_of: dict[str, Annotated[int | None, Field(ge=1, le=8)]]
    """number of convolutions shown over the depth, by arm; null: none"""


class Settings(ImageStudy):
    """Settings of study_ct_pneumonia."""

    collect: CollectSettings
    """which files are read, and how"""
    networks: NetworksSettings
    """arms made of a table"""
    positive: Text
    """the class that is to be found"""
    probe: ProbeSettings
    """when the page warns that the accuracy may come from the source"""
    attention: AttentionSettings
    """where the networks see evidence"""
    arms: Annotated[dict[Id, ArmDifference | None], Field(min_length=1)]
    """what differs from a row of the table, or an arm of its own; null leaves one out"""


def completed(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with an arm for each network of the table; refuses tasks and arms that do not fit each other."""
    where = f"study_settings.{name}"
    settings = with_networks(settings, Path(__file__).parent, where)
    ArmsSettings.among(settings, where)
    check_tasks(name, settings)
    known = classes_of(settings)
    if wrong := [label for label, plan in settings["collect"]["draw"].items() if plan and label not in known]:
        mend = closest(wrong[0], known)
        raise ConfigError("unknown class", where=f"{where}.collect.draw", found=wrong[0], mend=mend)
    return settings
