"""Note what a slide shows beside its tissue, and the colours of some labelled tiles."""

from drunet.annotation.parsed import read_parsed
from drunet.console import job
from drunet.files import read_json, write_json, write_tsv
from drunet.grid import Grid
from drunet.outcome import late_failure
from drunet.slide import Slide
from drunet.tiles import read_mask, read_table
from studies.cohort_audit.traits import COLOURS, file_traits, glass_and_ink, signature, tile_colours

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, params, facts = snakemake.input, snakemake.params, read_json(snakemake.input.status)
    table, said = read_table(inputs.tiles)
    grid, tissue = Grid.from_dict(said["grid"]), read_mask(inputs.tissue)
    annotation = read_parsed(inputs.annotation, slide_id=slide_id, size=(grid.width, grid.height))
    tumour = None
    if annotation is not None and (annotation.kind == "wta" or not annotation.tumour.is_empty):
        tumour = not annotation.tumour.is_empty
    with Slide(inputs.slide, slide_id, params.mpp, tissue) as slide:
        glass, ink, image = glass_and_ink(slide, tissue)
        colours = tile_colours(slide, table, grid.size, grid.tile_mpp, params.most, params.seed)
    seen = {"tumour": tumour, "file": file_traits(inputs.slide, facts), "glass": glass, "ink": ink}
    stain = colours[list(COLOURS)].mean() if len(colours) else {}
    seen |= {"stain": dict(stain), "signature": signature(image, tissue)}
    write_tsv(colours, snakemake.output.colours)
    write_json(snakemake.output.seen, seen)
