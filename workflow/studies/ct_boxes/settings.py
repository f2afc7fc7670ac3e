"""What the settings of this study may be."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from drunet.errors import ConfigError, closest
from drunet.settings.base import Block, Share, kind_of, refusal
from drunet.settings.training import ClasslessTraining
from studies.common.ct.window import Window
from studies.common.settings import EACH_ONCE, LABELS_APART, Id, OpenShare, PartsSettings, SetTraining, Text
from studies.common.user_paths import is_folder
from studies.ct_boxes.tasks import arm_settings, arms_of, module_of, source_of, subtypes_in
from studies.ct_boxes.view import BoxView

# The keys of `studies.ct_boxes.tasks.SUBTYPES`.
Subtype = Literal["A", "B", "E", "G"]
Protocol = Literal["random", "grouped"]
# Networks whose answers are shares of the sides, whatever they are asked for.
_IN_SHARES = ("compact_box_regressor",)


class SlicesSettings(Block):
    """Which slices, and how they become grey pictures with a box each."""

    root: Text | None
    """folder of DICOM series; null: the embedded set"""
    annotations: Text | None
    """folder of Pascal VOC files; null: below root as well"""
    window: Window
    """Hounsfield units that black to white stand for"""
    rule: Literal["largest", "union", "first"]
    """which box counts where a slice has several"""
    at_most: int | None = Field(ge=1)
    """slices of a subtype; null: all"""
    max_unreadable: Share
    """share of unreadable files above which it stops"""

    @model_validator(mode="after")
    def _annotated_slices(self) -> Self:
        if self.root is None and self.annotations is not None:
            mend = "Name the folder of the slices as well, or neither: the embedded set brings its own."
            raise refusal("annotations without slices", key="root", found="null", mend=mend)
        return self


class FineTuning(Block):
    """How the network goes on learning on each target."""

    parts: PartsSettings
    """counts or shares of each target"""
    training: dict[str, Any]
    """what differs from the training on the source"""


class ArmFineTuning(Block):
    """What differs from the study's fine-tuning; all arms share its parts."""

    training: dict[str, Any] = Field(default_factory=dict)
    """what differs from its training"""


class Arm(Block):
    """A network and how it answers."""

    label: Text
    """name in tables and figures"""
    architecture: str
    """a name from scripts/drunet/models/registry.py"""
    options: dict[str, Any]
    """passed to the builder"""
    loss: Literal["mse", "giou", "giou_l1"]
    """what is made small"""
    coordinates: Literal["pixels", "normalised"]
    """unit of the answers"""
    augment: BoxView | None
    """how slices are varied while learning; null: not at all"""
    training: dict[str, Any] = Field(default_factory=dict)
    """what differs from the study's training"""
    fine_tuning: ArmFineTuning = Field(default_factory=ArmFineTuning)
    """what differs from the study's fine-tuning"""

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if self.architecture in _IN_SHARES and self.coordinates == "pixels":
            what = f"{self.architecture} answers in shares of the sides"
            raise refusal(what, key="coordinates", found=self.coordinates, mend="Use normalised.")
        return self


class PicturesSettings(Block):
    """The figure of slices."""

    arm: str
    """name under arms"""
    slices: int = Field(ge=1, le=12)
    """slices in all"""
    protocol: Protocol | None = None
    """way of splitting that it is of; null: the one with the least leak"""


class BoxTraining(ClasslessTraining, SetTraining):
    """How long and how a network is trained on slices."""


class Settings(Block):
    """Settings of study_ct_boxes."""

    slices: SlicesSettings
    """which slices, and how they become grey pictures with a box each"""
    source: Annotated[
        Annotated[Subtype, Tag("string")] | Annotated[list[Subtype], Field(min_length=1), *EACH_ONCE, Tag("array")],
        Discriminator(kind_of),
    ]
    """subtype of the training set; or several, which are learnt together"""
    targets: Annotated[list[Subtype], *EACH_ONCE]
    """subtypes that it is tried on and fine-tuned for"""
    protocols: Annotated[list[Protocol], Field(min_length=1), *EACH_ONCE]
    """ways of splitting"""
    parts: PartsSettings
    """counts or shares of the source"""
    validation_share: OpenShare
    """share of the learnt set that decides when to stop"""
    size: int = Field(ge=32, multiple_of=16)
    """side of the square that a network sees, px"""
    training: BoxTraining
    """how a network learns"""
    fine_tuning: FineTuning
    """how the network goes on learning on each target"""
    arms: Annotated[dict[Id, Arm | None], LABELS_APART]
    """networks by name; null leaves one out"""
    bootstrap: int = Field(ge=1)
    """resamples by patient"""
    good: float = Field(gt=0, lt=1)
    """IoU that counts as a good result"""
    pictures: PicturesSettings
    """the figure of slices"""

    @model_validator(mode="after")
    def _targets_and_picture(self) -> Self:
        for subtype in subtypes_in(source_of(self.source)):
            if subtype in self.targets:
                mend = "Leave it out of the targets, which are the other subtypes."
                raise refusal("the source is among the targets", key="targets", found=subtype, mend=mend)
        if self.pictures.protocol not in (None, *self.protocols):
            found, mend = self.pictures.protocol, f"Use one of {', '.join(self.protocols)}, or null."
            raise refusal("pictures of a split that is not run", key="pictures.protocol", found=found, mend=mend)
        shown, arms = self.pictures.arm, [name for name, arm in self.arms.items() if arm]
        if shown not in arms:
            raise refusal("unknown arm", key="pictures.arm", found=shown, mend=closest(shown, arms))
        return self


def completed(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse folders that are not there, and arms that cannot be trained (raises DrunetError)."""
    where = f"study_settings.{name}"
    for key in ("root", "annotations"):
        if (folder := settings["slices"][key]) is not None and not is_folder(folder):
            # Folders of CT are often named after patients: the path is not repeated.
            mend = "Correct the path; relative ones start in the working directory."
            raise ConfigError("there is no such folder", where=f"{where}.slices.{key}", mend=mend)
    for arm in arms_of(settings):
        module_of(settings, arm)
        own, place = arm_settings(settings, arm), f"{where}.arms.{arm}"
        plan = BoxTraining.of(own["training"], f"{place}.training")
        tuning = BoxTraining.of(own["fine_tuning"]["training"], f"{place}.fine_tuning.training")
        # A network is built once, in one precision.
        if tuning.precision != plan.precision:
            place, mend = f"{place}.fine_tuning.training.precision", f"Use {plan.precision}, or change both."
            raise ConfigError("fine-tuning in another precision", where=place, found=tuning.precision, mend=mend)
