"""Write a slide's heatmap as tile objects for QuPath."""

from drunet.console import job
from drunet.export.outline import write_tiles
from drunet.files import read_json
from drunet.heatmap import read_heatmap
from drunet.outcome import late_failure
from drunet.uncertainty.calibration import temperature_of, tempered

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    origin = read_json(snakemake.input.status)["geojson_origin"]
    heatmap, grid = read_heatmap(snakemake.input.heatmap)
    if facts := snakemake.input.calibration:
        heatmap = tempered(heatmap, temperature_of(read_json(facts), snakemake.wildcards.run))
    write_tiles(snakemake.output.tiles, heatmap, grid, counted_from=tuple(origin))
