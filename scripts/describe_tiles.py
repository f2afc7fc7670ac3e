"""Describe the colours of a slide's tiles, to see which regions are unlike others."""

from drunet.console import job
from drunet.grid import Grid
from drunet.outcome import late_failure
from drunet.slide import Slide
from drunet.tiles import read_table, write_table
from drunet.uncertainty.regions import tile_colours

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    table, facts = read_table(snakemake.input.tiles)
    with Slide(snakemake.input.slide, slide_id, snakemake.params.mpp) as slide:
        colours = tile_colours(slide, table, Grid.from_dict(facts["grid"]))
    write_table(snakemake.output.colours, colours, {"grid": facts["grid"]})
