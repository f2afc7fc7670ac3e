"""Draw eight tiles with the probabilities that a finished classifier gives them."""

from drunet.console import job
from drunet.errors import FailedSlideError
from drunet.outcome import without_failed
from drunet.report.tile_picture import write_tile_picture

with job(snakemake.log[0]):
    inputs = snakemake.input
    rows = list(zip(snakemake.params.slides, inputs.slides, strict=True))
    try:
        slides, (tiles, answers) = without_failed(rows, inputs.tiles, inputs.answers)
    except FailedSlideError:
        # None of them has any: the picture says so, and the others go on.
        slides, tiles, answers = [], [], []
    write_tile_picture(snakemake.output.picture, slides, tiles, answers)
