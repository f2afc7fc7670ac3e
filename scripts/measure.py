"""Measure a slide: its tiles, and its segmentation at every stage."""

from drunet.annotation import read_annotation
from drunet.console import job
from drunet.evaluation import measure_slide, measure_tiles
from drunet.export.mask_image import read_mask_image
from drunet.files import write_json
from drunet.heatmap import read_field, read_heatmap
from drunet.tiles import read_table

with job(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    heatmap, grid = read_heatmap(inputs.heatmap)
    labelled, facts = read_table(inputs.tiles)
    annotation = read_annotation(
        inputs.annotation,
        kind=params.kind,
        where=snakemake.wildcards.slide,
        width=grid.width,
        height=grid.height,
        classes=params.classes,
        origin=facts.get("geojson_origin", (0, 0)),
    )
    stages = measure_slide(
        grid,
        annotation,
        heatmap=heatmap,
        refined=read_field(inputs.refined)[0] if inputs.refined else None,
        segmentation=read_mask_image(inputs.mask),
        mpp=params.measure["mpp"],
        threshold=params.measure["threshold"],
    )
    tiles = measure_tiles(labelled, read_table(inputs.classified)[0], params.measure["threshold"])
    write_json(snakemake.output.metrics, {"stages": stages, "tiles": tiles})
