"""Write a slide's heatmap as tile objects for QuPath."""

from drunet.console import job
from drunet.export.outline import write_tiles
from drunet.files import read_json
from drunet.heatmap import read_heatmap
from drunet.outcome import late_failure

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    origin = read_json(snakemake.input.status)["geojson_origin"]
    write_tiles(snakemake.output.tiles, *read_heatmap(snakemake.input.heatmap), counted_from=tuple(origin))
