"""List the tiles of a slide that hold tissue, with their labels."""

from pathlib import Path

from drunet.annotation.parsed import read_parsed
from drunet.console import job, say
from drunet.grid import Grid
from drunet.outcome import late_failure
from drunet.slide import Slide
from drunet.tiles import TileRules, check_detail, read_mask, tile_table, write_labelled_images, write_table

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, tiles = snakemake.input, snakemake.params.tiles
    images = snakemake.output.get("images")
    if images:
        # A folder, also of a slide that turns out to have none.
        Path(images).mkdir(parents=True, exist_ok=True)
    mask = read_mask(inputs.tissue)
    with Slide(inputs.slide, slide_id, snakemake.params.mpp) as slide:
        size = slide.properties.width, slide.properties.height
        grid = Grid(*size, mpp=slide.properties.mpp, tile_mpp=tiles["mpp"], size=tiles["size"], step=tiles["step"])
        check_detail(grid, where=slide_id)
        annotation = read_parsed(inputs.annotation, slide_id=slide_id, size=size)
        table = tile_table(grid, mask, annotation, TileRules(**snakemake.params.rules))
        if images:
            write_labelled_images(slide, table, grid, images)
    if table.empty:
        say(f"WARNING  {slide_id}: tissue was found, but nowhere enough of it for a tile (`tiles.min_tissue`).")
    write_table(snakemake.output.tiles, table, {"slide": slide_id, "grid": grid.to_dict()})
