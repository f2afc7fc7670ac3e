"""Draw a slide with a run's outline for readers who must not know the run."""

from drunet.console import job
from drunet.export.mask_image import read_mask_image
from drunet.slide import Slide
from studies.scores.figures import write_case

with job(snakemake.log[0]), Slide(snakemake.input.slide, snakemake.wildcards.slide, snakemake.params.mpp) as slide:
    mask = read_mask_image(snakemake.input.mask)
    write_case(snakemake.output.picture, slide, mask, snakemake.params.longest)
