"""Compress the outlines of a slide's tumour, for QuPath and others."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.export.outline import whole_text
from drunet.outcome import late_failure, require_result

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    require_result(snakemake.input.outline)
    with (
        Path(snakemake.input.outline).open(encoding="utf-8") as outlines,
        whole_text(snakemake.output.outline) as packed,
    ):
        shutil.copyfileobj(outlines, packed)
