"""Draw the embedded CT set of the CT studies."""

from drunet.console import job
from studies.common.drawing.ct import write_ct_set

with job(snakemake.log[0]):
    settings = snakemake.params.settings
    write_ct_set(
        snakemake.output.folder,
        size=settings["size"],
        classifier=settings["classifier"],
        boxes=settings["boxes"],
        seed=snakemake.params.seed,
    )
