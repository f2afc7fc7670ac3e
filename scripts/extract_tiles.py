"""List the tiles of a slide that hold tissue, with their labels."""

from drunet.annotation import read_annotation
from drunet.console import job
from drunet.grid import Grid
from drunet.slide import Slide
from drunet.tiles import TileRules, read_mask, tile_table, write_labelled_images, write_table

with job(snakemake.log[0]):
    slide_id, tiles = snakemake.wildcards.slide, snakemake.params.tiles
    with Slide(snakemake.input.slide, slide_id, snakemake.params.mpp) as slide:
        size = {"width": slide.properties.width, "height": slide.properties.height}
        grid = Grid(**size, mpp=slide.properties.mpp, tile_mpp=tiles["mpp"], size=tiles["size"], step=tiles["step"])
        annotation = None
        if snakemake.params.kind:
            annotation = read_annotation(
                snakemake.input.annotation,
                kind=snakemake.params.kind,
                where=slide_id,
                classes=snakemake.params.classes,
                **size,
            )
        table = tile_table(grid, read_mask(snakemake.input.tissue), annotation, TileRules(**snakemake.params.rules))
        if images := snakemake.output.get("images"):
            write_labelled_images(slide, table, grid, images)
    write_table(snakemake.output.tiles, table, {"slide": slide_id, "grid": grid.to_dict()})
