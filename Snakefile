"""Find lung tumour in whole-slide images with DRU-Net. README.md says how to use it, config.yaml what can be set."""

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.20")

# One heap for all threads of a job: with one each, TensorFlow gives memory back to the system at every step and takes it
# anew, which is a third of a training's processor time with glibc. Results are the same.
os.environ.setdefault("MALLOC_ARENA_MAX", "1")

if Path("config.yaml").is_file():
    try:
        Path("config.yaml").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise WorkflowError(f"config.yaml: the file is no UTF-8 text (found: {error}). Save it as UTF-8.") from None


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


if config.get("container"):

    container: config["container"]


# The studies add their models and runs before the product's rules are read.
include: "workflow/studies/common/studies.smk"
include: "workflow/rules/learning.smk"
include: "workflow/rules/trust.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/demo.smk"
include: "workflow/rules/slides.smk"
include: "workflow/rules/tiles.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/heatmaps.smk"
include: "workflow/rules/fast.smk"
include: "workflow/rules/encoders.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/exports.smk"
include: "workflow/rules/archives.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/calibration.smk"
include: "workflow/rules/appearance.smk"
include: "workflow/rules/bound.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/uncertainty.smk"
include: "workflow/rules/targets.smk"
include: "workflow/studies/common/rules.smk"


rule all:
    input:
        "<results>/report/report.html",
        expand("<results>/models/{model}/card.md", model=USED_MODELS),
        [f"<results>/models/{m}/tiles.png" for m in USED_CLASSIFIERS if is_finished(m)],
        for_usable("<results>/heatmaps/{model}/{slide}.tif", model=WHOLE_CLASSIFIERS),
        rules.exports.input,
        PAGES,
