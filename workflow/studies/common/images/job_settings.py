"""Settings of studies of images that jobs read: the search for images of one source, and lessons of a teacher."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from drunet.settings.base import AS_GIVEN, Block
from drunet.settings.network import starts_whole


class Match(Block):
    """What makes two images one source."""

    ratio: float = Field(gt=0, lt=1)
    """a feature counts as found if its nearest one in the other image is nearer than this share of the second nearest's
    distance, in both directions of looking"""
    tolerance: float = Field(ge=0.5)
    """px on the small image that a feature may lie off the place where the similarity puts it"""
    max_scale: float = Field(ge=1)
    """largest magnification of one image against the other"""
    inliers: int = Field(ge=4)
    """features in different places that must fit the similarity; more: fewer links, and surer ones"""
    correlation: float = Field(default=0.0, ge=0, lt=1)
    """least correlation of the two pictures, laid over each other, without their low frequencies; 0: not looked at"""
    body_only: bool = False
    """of a CT slice, look inside the body alone: many patients have the same scanner's table under them"""


class NearDuplicates(Match):
    """How near-duplicates are looked for."""

    candidates: int = Field(ge=1)
    """images of the same class, nearest in colour, that each image is compared with; more than an image has siblings"""
    size: int = Field(ge=64)
    """longer side of the grey image that is compared, px"""
    features: int = Field(ge=16)
    """SIFT features of an image, the strongest ones"""
    check_pairs: int | None = Field(default=None, ge=1)
    """pairs of different classes that the comparison is tried on, where every link is a false one; null: as many as
    pairs of one class were compared, which triples the time; as many random pairs of one class are tried"""
    largest: int | None = Field(default=None, ge=2)
    """images of a group at most, identical ones aside; links beyond that are left out, the weakest first, and counted;
    null: any number"""


class Lesson(Block):
    """How an arm with a teacher learns from it; see `drunet.training.distillation.DistillationLoss`."""

    temperature: Annotated[float, Field(ge=1, le=100), AS_GIVEN]
    """softens both answers"""
    weight: Annotated[float, Field(ge=0, le=1), AS_GIVEN]
    """of the teacher's answer; the label has the rest"""


def starting_files(arm: Mapping[str, Any]) -> list[str]:
    """Files with weights that an arm starts from: of the whole model, or of backbones."""
    weights = arm.get("weights", "random")
    if isinstance(weights, Mapping):
        return [weights[name] for name in sorted(weights)]
    return [weights] if starts_whole(weights) else []
