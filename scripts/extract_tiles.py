"""List the tiles of a slide that hold tissue, with their labels."""

from drunet.annotation import read_annotation
from drunet.console import job, say
from drunet.grid import Grid
from drunet.slide import Slide
from drunet.tiles import TileRules, read_mask, tile_table, write_labelled_images, write_table

with job(snakemake.log[0]):
    slide_id, tiles = snakemake.wildcards.slide, snakemake.params.tiles
    with Slide(snakemake.input.slide, slide_id, snakemake.params.mpp) as slide:
        size = {"width": slide.properties.width, "height": slide.properties.height}
        origin = slide.properties.geojson_origin(snakemake.params.geojson_frame)
        grid = Grid(**size, mpp=slide.properties.mpp, tile_mpp=tiles["mpp"], size=tiles["size"], step=tiles["step"])
        annotation = None
        if snakemake.params.kind:
            annotation = read_annotation(
                snakemake.input.annotation,
                kind=snakemake.params.kind,
                where=slide_id,
                classes=snakemake.params.classes,
                origin=origin,
                **size,
            )
        table = tile_table(grid, read_mask(snakemake.input.tissue), annotation, TileRules(**snakemake.params.rules))
        if images := snakemake.output.get("images"):
            write_labelled_images(slide, table, grid, images)
    if table.empty:
        say(f"WARNING  {slide_id}: tissue was found, but nowhere enough of it for a tile (`tiles.min_tissue`).")
    facts = {"slide": slide_id, "grid": grid.to_dict()}
    if any(origin):
        # For whoever reads the annotation with this table.
        facts["geojson_origin"] = origin
    write_table(snakemake.output.tiles, table, facts)
