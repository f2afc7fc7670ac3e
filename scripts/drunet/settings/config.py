"""The whole configuration."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from drunet.files import LONGEST_ID, is_safe_id
from drunet.settings.base import Block
from drunet.settings.cohort import CohortSettings
from drunet.settings.encoder import EncoderSettings
from drunet.settings.export import ExportSettings
from drunet.settings.inference import InferenceSettings
from drunet.settings.measure import MeasureSettings
from drunet.settings.models import Classifier, Refiner, RunSettings
from drunet.settings.postprocess import PostprocessSettings
from drunet.settings.regions import NextRegionsSettings
from drunet.settings.report import ReportSettings
from drunet.settings.resources import ResourcesSettings
from drunet.settings.tiles import TilesSettings
from drunet.settings.tissue import TissueSettings


def _safe(name: str) -> str:
    if not is_safe_id(name):
        raise ValueError(name)
    return name


# A name becomes a folder and a wildcard. The pattern is for editors: that of `is_safe_id`, without a look ahead.
_PATTERN = r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_-])*$"
Id = Annotated[str, Field(pattern=_PATTERN, max_length=LONGEST_ID), AfterValidator(_safe)]


class Configuration(Block):
    """What a user edits; config.yaml shows every key with its meaning."""

    # Raised when a key changes its meaning or its name; see `drunet.settings.messages.RENAMED`.
    version: Literal[2] = 2
    """version of the configuration's keys; left out: 2"""
    results: str = Field(pattern=r"^[^{}<>]+$")
    """folder for everything that is made; without { } < >, which Snakemake reads as its own"""
    seed: int = Field(ge=0, le=4_294_960_000)
    """every random draw derives from it"""
    cohort: CohortSettings
    """which slides, and how their annotations are read"""
    tissue: TissueSettings
    """tissue mask"""
    tiles: TilesSettings
    """grid of the tiles, and how they are labelled"""
    encoders: dict[Id, EncoderSettings] = Field(default_factory=dict)
    """finished encoders by name, whose features classifiers with `encoder: NAME` learn from"""
    classifiers: Annotated[dict[Id, Classifier], Field(min_length=1)]
    """patch-wise classifiers by name"""
    refiners: Annotated[dict[Id, Refiner], Field(min_length=1)]
    """refinement networks by name"""
    runs: Annotated[dict[Id, RunSettings], Field(min_length=1)]
    """pairs of classifier and refiner by name"""
    export: ExportSettings
    """export to ONNX"""
    inference: InferenceSettings
    """where and how ONNX Runtime computes"""
    postprocess: PostprocessSettings
    """from a probability to a clean mask"""
    measure: MeasureSettings
    """comparison with annotations"""
    next_regions: NextRegionsSettings = Field(default_factory=NextRegionsSettings)
    """which regions to annotate next"""
    report: ReportSettings
    """report and preview images"""
    resources: ResourcesSettings = Field(default_factory=dict)
    """mem_mb and runtime (minutes) per rule, threads for those that compute in parallel"""
    container: str | None = Field(default=None, min_length=1)
    """image that jobs run in with `snakemake --sdm apptainer`: a .sif file or an address; null: none"""
    model_lists: list[str] = Field(default_factory=list)
    """files that list models to fetch, besides resources/models.yaml"""
    model_folder: str | None = None
    """folder with the files of listed models, where there is no network; null: they are fetched"""
    pinned: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=dict)
    """SHA-256 of weights files that models start from, by path, checked before anything of them is read"""
    studies: list[str] = Field(default_factory=list)
    """side-studies to add to `all`"""
    study_settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """per study what differs from its defaults"""
