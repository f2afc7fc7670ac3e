"""Settings of the cohort: sample sheets, annotation classes, bad slides."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from drunet.settings.base import Block, Share, kind_of

Name = Annotated[str, Field(min_length=1)]
Sheets = Annotated[
    Annotated[Name, Tag("string")] | Annotated[list[Name], Field(min_length=1), Tag("array")], Discriminator(kind_of)
]


class AnnotationClasses(Block):
    """Class names of annotations by meaning; where regions of different meaning overlap, the smaller one counts."""

    tumour: list[Name] = Field(min_length=1)
    """class names that mean tumour"""
    non_tumour: list[Name]
    """class names that mean other tissue"""
    ignore: list[Name]
    """class names of regions that are neither used for training nor measured"""


class CohortSettings(Block):
    """Which slides, and how their annotations are read."""

    sheet: Sheets
    """one sample sheet, or a list of sheets"""
    root: str | None
    """folder where relative paths of the sheet start; null: the sheet's own folder"""
    on_bad_slide: Literal["skip", "fail"]
    """what happens to a slide that cannot be used: it is listed and left out, or the workflow stops"""
    geojson_frame: Literal["qupath", "slide"]
    """where GeoJSON coordinates start, read and written. qupath: the corner of the scanned area (differs from level 0
    in MIRAX, Leica and Ventana), as QuPath does; slide: the corner of level 0, as most other programs do"""
    max_untangled: Share = 0.05
    """share of a region up to which an outline that crosses itself is untangled and counted; above, it is refused"""
    annotation_classes: AnnotationClasses
    """class names of annotations by meaning"""
