"""Draw a slide's heatmap and its segmentation, with the annotation where there is one."""

from drunet.annotation.parsed import read_parsed
from drunet.console import job
from drunet.heatmap import read_heatmap
from drunet.outcome import late_failure
from drunet.report.slide_pictures import write_pictures
from drunet.slide import Slide
from drunet.tiles import read_mask

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs = snakemake.input
    mask = read_mask(inputs.mask)
    heatmap, grid = read_heatmap(inputs.heatmap)
    annotation = read_parsed(inputs.annotation, slide_id=slide_id, size=(grid.width, grid.height))
    with Slide(inputs.slide, slide_id, snakemake.params.mpp) as slide:
        write_pictures(
            slide,
            mask,
            heatmap,
            grid,
            annotation,
            longest=snakemake.params.overlay_px,
            heatmap_path=snakemake.output.heatmap,
            overlay_path=snakemake.output.overlay,
        )
