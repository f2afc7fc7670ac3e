"""What the settings of every study on a folder of images have in common."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from drunet.settings.base import Block, Share, kind_of, refusal
from drunet.settings.network import NetworkSettings, Weights
from studies.common.images.job_settings import NearDuplicates
from studies.common.images.view import Degradation, View
from studies.common.settings import (
    EACH_ONCE,
    LABELS_APART,
    Id,
    Names,
    OpenShare,
    PartsSettings,
    SetTraining,
    Text,
    told_by,
)


def _some_task(tasks: dict[str, Any]) -> dict[str, Any]:
    if not any(tasks.values()):
        raise refusal("no task is left", found="null", mend="Leave at least one in.")
    return tasks


Protocol = Literal["random", "given", "grouped"]
Protocols = Annotated[list[Protocol], Field(min_length=1), *EACH_ONCE]
Folds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), *EACH_ONCE]


class ImagesSettings(Block):
    """Which images, and which belong together."""

    root: Text | None
    """folder with a folder per class; null: the embedded set"""
    groups: Text | None
    """table (file, group); null: groups are looked for"""
    max_unreadable: Share
    """share of unreadable images above which it stops"""
    near_duplicates: NearDuplicates
    """how near-duplicates are looked for"""


class FolderSettings(ImagesSettings):
    """Which images, and which others the networks are tested on once."""

    external: Text | None
    """second folder with a folder per class of the first task, which every network is tested on once; null: none"""


class ImageView(View):
    """How an image is brought to a network."""

    size: int = Field(ge=32, le=1024)
    short_side: int = Field(ge=32, le=2048)


class RunFolds(Block):
    """Folds that are trained, by protocol; one that is left out has all."""

    random: Folds = Field(default_factory=list)
    """numbers of folds"""
    grouped: Folds = Field(default_factory=list)
    """numbers of folds"""


class FoldsSplit(Block):
    """Folds, each of which is the test of a training."""

    folds: int = Field(ge=2, le=100)
    """number of folds"""
    run: Annotated[Annotated[Folds, Tag("array")] | Annotated[RunFolds, Tag("object")], Discriminator(kind_of)]
    """folds that are trained: under every protocol, or by protocol"""


class PartsSplit(Block):
    """Parts by proportion."""

    parts: PartsSettings
    """sizes of the parts"""


class TaskSettings(Block):
    """Classes to recognise."""

    classes: Annotated[list[Text], Field(min_length=2), *EACH_ONCE]
    """names of folders"""
    protocols: Protocols
    """how images are split: random (leaks), given (parts that folders name), grouped (never divides a source)"""
    arms: Names
    """names under arms"""
    split: Annotated[
        Annotated[FoldsSplit, Tag("FoldsSplit")] | Annotated[PartsSplit, Tag("PartsSplit")],
        told_by("parts", "PartsSplit", "FoldsSplit"),
    ]
    """{folds, run}, or {parts}"""
    shown: Protocol | None = None
    """protocol whose training pictures, exports and times are of; null: the one with the least leak"""


class OnlySettings(Block):
    """Which of a task's trainings an arm takes part in."""

    protocols: Annotated[list[Protocol], Field(min_length=1)] = Field(default_factory=list)
    """of the task's protocols"""
    run: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(default_factory=list)
    """of the task's folds"""


class _Arm(Block):
    label: Text
    """name in tables and figures"""
    published: str | None
    """its row in the published tables; null: none"""
    only: OnlySettings | None = None
    """which of a task's trainings it takes part in; null or absent: all"""


class ClassicArm(_Arm):
    """A prior model on stated features."""

    classic: Literal["svm", "random_forest", "knn", "file_statistics"]
    """name of the model"""


class NetworkArm(_Arm, NetworkSettings):
    """A network with its start."""

    weights: Weights
    """random, imagenet, a file, or a file per backbone"""
    teacher: str | None = None
    """an arm of the same task, on whose answers it is trained; null: none"""
    training: dict[str, Any] = Field(default_factory=dict)
    """what differs from the study's training"""
    view: dict[str, Any] = Field(default_factory=dict)
    """what differs from the study's view"""
    sees: Degradation | None = None
    """what is left of an image; null or absent: all of it"""


Arm = Annotated[
    Annotated[None, Tag("null")] | Annotated[ClassicArm, Tag("ClassicArm")] | Annotated[NetworkArm, Tag("NetworkArm")],
    told_by("classic", "ClassicArm", "NetworkArm"),
]


class ArmsSettings(Block):
    """What is compared."""

    arms: Annotated[dict[Id, Arm], Field(min_length=1), LABELS_APART]
    """networks and prior models by name; null leaves one out"""


class ImageStudy(Block):
    """Settings of a study on a folder of images, but for its arms."""

    images: ImagesSettings
    """which images, and which belong together"""
    tasks: Annotated[dict[Id, TaskSettings | None], Field(min_length=1), AfterValidator(_some_task)]
    """sets of classes by name; null leaves one out"""
    tables: dict[str, Annotated[list[str], Field(min_length=1)]]
    """which arms stand in which table"""
    bootstrap: int = Field(ge=100)
    """resamples by group"""
    validation_share: OpenShare
    """share of the training images that is set aside"""
    view: ImageView
    """how an image is brought to the network"""
    training: SetTraining
    """how long and how to train"""


class FolderStudy(ImageStudy, ArmsSettings):
    """Settings of a study on a folder of images, with its arms."""

    images: FolderSettings
    """which images, which belong together, and which others the networks are tested on"""
