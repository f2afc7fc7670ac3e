"""Resources of the rules: memory, run time, threads."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from drunet.settings.base import Block, refusal

# Rules that compute in parallel, and all others whose resources can be set.
Parallel = Literal[
    "classify_tiles",
    "embed_tiles",
    "explain_classifier",
    "list_images",
    "train_box_arm",
    "train_classifier",
    "train_image_arm",
    "train_lens_arm",
    "train_refiner",
]
Serial = Literal[
    "adopt_onnx",
    "cluster_tiles",
    "collect_ct_images",
    "collect_ct_slices",
    "compare_backbones",
    "compare_runs",
    "compare_sampling",
    "compare_top_skip",
    "detect_tissue",
    "draw_attention",
    "draw_case",
    "draw_confused_pairs",
    "draw_ct_attention",
    "draw_ct_boxes",
    "export_image_arm",
    "export_onnx",
    "extract_tiles",
    "fit_prior_model",
    "inspect_slide",
    "make_scoring_sheets",
    "map_ct_attention",
    "measure",
    "postprocess",
    "read_image_set",
    "read_scores",
    "refine_heatmap",
    "report",
    "report_ct_boxes",
    "report_ct_pneumonia",
    "report_histology_distillation",
    "report_histology_resnet50",
    "report_multi_lens",
    "report_slide_distillation",
    "show_clusters",
    "stitch_heatmap",
    "time_backbones",
    "time_image_arms",
    "time_lenses",
    "time_students",
]


class RuleResources(Block):
    """What a job of a rule may use; what is left out keeps its default."""

    mem_mb: int = Field(default=0, ge=1)
    """memory, MB"""
    runtime: int = Field(default=0, ge=1)
    """run time, minutes"""
    threads: int = Field(default=0, ge=1)
    """processor cores, of rules that compute in parallel"""


def _threads_in_parallel(resources: dict[str, RuleResources]) -> dict[str, RuleResources]:
    for rule, own in resources.items():
        if rule not in get_args(Parallel) and "threads" in own.model_fields_set:
            raise refusal("the rule computes in one thread", key=rule, found="threads", mend="Known: mem_mb, runtime.")
    return resources


ResourcesSettings = Annotated[dict[Literal[Parallel, Serial], RuleResources], AfterValidator(_threads_in_parallel)]
