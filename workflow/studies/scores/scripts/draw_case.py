"""Draw a slide with a run's outline for readers who must not know the run."""

from drunet.console import job
from drunet.export.mask_image import read_mask_image
from drunet.outcome import late_failure
from drunet.slide import Slide
from studies.scores.figures import write_case

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    mask = read_mask_image(snakemake.input.mask)
    with Slide(snakemake.input.slide, slide_id, snakemake.params.mpp) as slide:
        write_case(snakemake.output.picture, slide, mask, snakemake.params.longest)
