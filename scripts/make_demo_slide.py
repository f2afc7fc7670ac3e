"""Make one slide of the demo cohort, with its annotation."""

from drunet.console import job
from drunet_demo.slides import write_slide

with job(snakemake.log[0]):
    write_slide(
        snakemake.wildcards.demo_slide,
        snakemake.params.seed,
        snakemake.output.slide,
        snakemake.output.annotation,
    )
