"""Measure a slide: its tiles, and its segmentation at every stage."""

from drunet.annotation.parsed import read_parsed
from drunet.console import job
from drunet.evaluation import measure_slide, measure_tiles
from drunet.export.mask_image import read_mask_image
from drunet.files import write_json
from drunet.heatmap import read_field, read_heatmap
from drunet.outcome import late_failure
from drunet.tiles import read_table

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    params, inputs = snakemake.params, snakemake.input
    heatmap, grid = read_heatmap(inputs.heatmap)
    stages = measure_slide(
        grid,
        read_parsed(inputs.annotation, slide_id=slide_id, size=(grid.width, grid.height)),
        heatmap=heatmap,
        refined=read_field(inputs.refined)[0] if inputs.refined else None,
        segmentation=read_mask_image(inputs.mask),
        mpp=params.measure["mpp"],
        threshold=params.measure["threshold"],
    )
    labelled, classified = read_table(inputs.tiles)[0], read_table(inputs.classified)[0]
    tiles = measure_tiles(labelled, classified, params.measure["threshold"])
    write_json(snakemake.output.metrics, {"stages": stages, "tiles": tiles})
