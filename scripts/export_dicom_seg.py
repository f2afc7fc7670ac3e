"""Write the mask of a slide as a DICOM segmentation."""

from drunet.console import job
from drunet.export.dicom_seg import write_segmentation
from drunet.export.mask_image import read_mask_image
from drunet.grid import Grid
from drunet.heatmap import read_field
from drunet.outcome import late_failure

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    facts = read_field(snakemake.input.heatmap)[1]
    write_segmentation(
        snakemake.output.segmentation,
        read_mask_image(snakemake.input.mask),
        Grid.from_dict(facts["grid"]),
        snakemake.input.slide,
        slide_id=slide_id,
        run=snakemake.wildcards.run,
        model_sha256=facts["model_sha256"],
    )
