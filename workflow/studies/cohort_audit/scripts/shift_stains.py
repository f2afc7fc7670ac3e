"""Ask a classifier for the same tiles in other stains."""

import numpy as np

from drunet.console import job
from drunet.files import write_tsv
from drunet.grid import Grid
from drunet.inference import EngineOptions, check_classifier, layout_of, open_session, probabilities
from drunet.outcome import late_failure
from drunet.slide import Slide
from drunet.tiles import read_mask, read_table
from studies.cohort_audit.shifts import shifted

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with (
    job(snakemake.log[0], gpus=snakemake.resources.gpu),
    late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide),
):
    inputs, params, name = snakemake.input, snakemake.params, snakemake.wildcards.model
    options = EngineOptions(**params.engine, threads=snakemake.threads)
    table, facts = read_table(inputs.tiles)
    grid, layout = Grid.from_dict(facts["grid"]), layout_of(params.layout)
    chosen = np.random.default_rng(params.seed).choice(len(table), min(params.most, len(table)), replace=False)
    with Slide(inputs.slide, slide_id, params.mpp, read_mask(inputs.tissue)) as slide:
        tiles = np.stack(
            [slide.read(int(table.x[i]), int(table.y[i]), (grid.size,) * 2, grid.tile_mpp) for i in np.sort(chosen)]
        )
    session = open_session(inputs.model, options, where=name)
    port = check_classifier(session, layout, grid.size, where=name)
    answers = shifted(tiles, lambda pixels: probabilities(session, port, pixels, layout, slide_id))
    write_tsv(answers, snakemake.output.answers)
