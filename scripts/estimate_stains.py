"""Estimate the stains of a slide from some of its tissue tiles."""

from dataclasses import asdict

from drunet.console import job, say
from drunet.files import write_json
from drunet.grid import Grid
from drunet.outcome import late_failure
from drunet.slide import Slide
from drunet.stains import macenko
from drunet.tiles import read_mask, read_table, tissue_pixels

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, params = snakemake.input, snakemake.params
    table, facts = read_table(inputs.tiles)
    tissue = read_mask(inputs.tissue)
    pixels = tissue_pixels(
        lambda: Slide(inputs.slide, slide_id, params.mpp, tissue), table, Grid.from_dict(facts["grid"]), params.seed
    )
    try:
        stains = asdict(macenko(pixels))
    except ValueError as error:
        say(f"WARNING  {slide_id}: its stains are not normalised: {error}.")
        stains = {"failed": str(error)}
    write_json(snakemake.output.stains, stains)
