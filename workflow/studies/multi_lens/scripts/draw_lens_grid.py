"""Draw a grid on a patch of a slide, and distort it by lenses."""

from drunet.console import job
from drunet.report.figures import save
from drunet.slide import Slide
from drunet.tiles import read_table
from studies.multi_lens.arms import lenses_of
from studies.multi_lens.tables import grid_picture, sample_tile

with job(snakemake.log[0]):
    params, picture = snakemake.params, snakemake.params.picture
    size = picture["size"]
    x, y = sample_tile(read_table(snakemake.input.tiles[0])[0])
    with Slide(snakemake.input.slide[0], params.slide, params.mpp) as slide:
        patch = slide.read(x, y, (size, size), params.tile_mpp)
    strong, medium = (lenses_of(params.lenses, picture[key], size) for key in ("too_strong", "medium"))
    save(grid_picture(patch, strong, medium, seed=params.seed), snakemake.output.grid)
