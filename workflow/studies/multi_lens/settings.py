"""What the settings of this study may be."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Tag, model_validator

from drunet.errors import ConfigError, closest
from drunet.settings.augment import AugmentSettings, Radius
from drunet.settings.base import Block, refusal
from drunet.settings.network import NetworkSettings, Weights
from studies.common.settings import EACH_ONCE, Id, SetTraining, SomeShare, Text, told_by
from studies.common.user_paths import is_there
from studies.multi_lens.arms import image_sets_of, largest_strength, networks_of

_Files = Annotated[list[Text], Field(min_length=1, max_length=1)]


class PlainAugment(AugmentSettings):
    """Augmentation of both arms."""

    multi_lens: None = None
    """lenses are what the arms differ in"""


class _ImageSet(Block):
    share: SomeShare = 1
    """share of the training images that is drawn; left out: the study's"""
    augment: PlainAugment | None = None
    """augmentation; null: none; left out: the study's"""


class EmbeddedSet(_ImageSet):
    """A set that comes with a library."""

    embedded: Literal["digits"]
    """the digits of scikit-learn"""


class OwnSet(_ImageSet):
    """A set of a user's files."""

    training: _Files
    """file or folder of training images"""
    test: _Files
    """file or folder of images that are judged on"""


ImageSet = Annotated[
    Annotated[None, Tag("null")] | Annotated[EmbeddedSet, Tag("EmbeddedSet")] | Annotated[OwnSet, Tag("OwnSet")],
    told_by("embedded", "EmbeddedSet", "OwnSet"),
]


class SweepSettings(Block):
    """Which strengths are tried on which sets."""

    strengths: list[SomeShare]
    """strengths either way"""
    datasets: list[str]
    """names under datasets"""


class LensSettings(Block):
    """The lenses of the arms that have them."""

    lenses: int = Field(ge=1, le=100)
    """lenses per image"""
    radius: Radius
    """px, [lowest, highest), on images of radius_at"""
    radius_at: int = Field(ge=1)
    """px of the image side that the radii are meant for"""
    probability: SomeShare
    """share of the images distorted"""
    centres: Literal["anywhere", "inside"]
    """where lenses may lie"""


class CostSettings(Block):
    """How the training time is measured."""

    size: int = Field(ge=32, le=1024)
    """px"""
    batch_size: int = Field(ge=1)
    """images per step"""
    steps: int = Field(ge=1)
    """per round"""
    rounds: int = Field(ge=1)
    """rounds that count"""


class PictureSettings(Block):
    """The picture of lenses on a grid."""

    size: int = Field(ge=32, le=2048)
    """px of the patch"""
    medium: SomeShare
    """largest strength of a lens either way"""
    too_strong: SomeShare
    """largest strength of a lens either way"""


class SlideSettings(Block):
    """Which runs are compared on slides."""

    networks: Annotated[dict[Text, Annotated[list[Text], Field(min_length=2), *EACH_ONCE] | None], Field(min_length=1)]
    """runs by network: the one without lenses, the one with, further strengths; null leaves a network out"""


class Settings(NetworkSettings):
    """Settings of study_multi_lens."""

    slides: SlideSettings | None
    """which runs are compared on slides; null: none"""
    datasets: Annotated[dict[Id, ImageSet], Field(min_length=1)]
    """sets of images by name: files for training and test, {embedded: digits}, or null to leave the set out"""
    repeats: int = Field(ge=1, le=100)
    """paired trainings per set"""
    share: SomeShare
    """share of the training images that is drawn"""
    validation_share: float = Field(ge=0, le=0.9)
    """share of the drawn images set aside"""
    test_images: int | None = Field(ge=2)
    """at most so many; null: all"""
    weights: Weights
    """random, imagenet, or a file per backbone"""
    size: int = Field(ge=32, le=1024)
    """px of what the network sees"""
    strength: SomeShare
    """largest strength of a lens either way"""
    sweep: SweepSettings
    """which strengths are tried on which sets"""
    multi_lens: LensSettings
    """the lenses of the arms that have them"""
    augment: PlainAugment | None
    """of both arms, without lenses; null: none"""
    training: SetTraining
    """how long and how to train"""
    cost: CostSettings
    """how the training time is measured"""
    picture: PictureSettings
    """the picture of lenses on a grid"""

    @model_validator(mode="after")
    def _known_sets(self) -> Self:
        if not any(self.datasets.values()) and not (self.slides and any(self.slides.networks.values())):
            mend = "Name files or {embedded: digits}, or networks under `slides`."
            raise refusal("no set of images is left, and no network on slides", key="datasets", found="null", mend=mend)
        for name in self.sweep.datasets:
            if name not in self.datasets:
                mend = closest(name, self.datasets)
                raise refusal("no such set of images", key="sweep.datasets", found=name, mend=mend)
        return self


def check(settings: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse sets of images that are not there, and runs that differ in more than lenses (raises ConfigError)."""
    for name, files in image_sets_of(settings).items():
        for part in ("training", "test"):
            for path in (path for path in files.get(part, []) if not is_there(path)):
                where = f"study_settings.multi_lens.datasets.{name}.{part}"
                mend = "Correct the path; relative ones start in the working directory."
                raise ConfigError("the file is not there", where=where, found=path, mend=mend)
    for network, runs in networks_of(settings).items():
        _check_network(runs, config, f"study_settings.multi_lens.slides.networks.{network}")


def _check_network(runs: list[str], config: Mapping[str, Any], where: str) -> None:
    for run in runs:
        if run not in config["runs"]:
            raise ConfigError("unknown run", where=where, found=run, mend=closest(run, config["runs"]))
        if "onnx" in config["classifiers"][config["runs"][run]["classifier"]]:
            mend = "Name runs whose classifier is trained here."
            raise ConfigError("a finished classifier tells nothing of lenses", where=where, found=run, mend=mend)
    classifiers = [config["classifiers"][config["runs"][run]["classifier"]] for run in runs]
    strengths = [largest_strength(classifier) for classifier in classifiers]
    if strengths[0] or 0 in strengths[1:] or len(set(strengths)) < len(runs):
        found = ", ".join(f"{run} ±{strength:g}" for run, strength in zip(runs, strengths, strict=True))
        mend = "Name the run without lenses first, then one for each strength."
        what = "the first run must be without lenses, and the others must have lenses of different strengths"
        raise ConfigError(what, where=where, found=found, mend=mend)
    compared = {run: _all_but_strength(config, run) for run in runs}
    usual = compared[runs[1]]
    for run, own in compared.items():
        keys = [key for key in sorted({*usual, *own}) if own.get(key) != usual.get(key)]
        if other := [key for key in keys if run != runs[0] or not key.startswith("multi_lens.")]:
            mend = f"Give it what {runs[1]} has, so that the comparison tells what lenses do."
            found = f"{run}: {', '.join(other)}"
            raise ConfigError("runs differ in more than the strength of lenses", where=where, found=found, mend=mend)


def _all_but_strength(config: Mapping[str, Any], run: str) -> dict[str, Any]:
    """Settings of a run's classifier and refiner, but for the lenses' strength and whose heatmaps the refiner saw."""
    parts = config["runs"][run]
    classifier = config["classifiers"][parts["classifier"]]
    augment = classifier["augment"] or {}
    refiner = config["refiners"][parts["refiner"]] if parts["refiner"] else {}
    return {
        **{key: value for key, value in classifier.items() if key != "augment"},
        **{f"augment.{key}": value for key, value in augment.items() if key != "multi_lens"},
        **{f"multi_lens.{key}": v for key, v in (augment.get("multi_lens") or {}).items() if key != "strength"},
        **{f"refiner.{key}": value for key, value in refiner.items() if key != "classifier"},
        **{f"run.{key}": value for key, value in parts.items() if key not in ("classifier", "refiner")},
    }
