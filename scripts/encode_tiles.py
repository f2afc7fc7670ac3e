"""Compute the features of a slide's tiles with an encoder, on ONNX Runtime."""

from drunet.console import job
from drunet.features import write_features
from drunet.grid import Grid
from drunet.inference import EngineOptions, open_session
from drunet.outcome import late_failure
from drunet.slide import Slide
from drunet.stains import density_change
from drunet.tiles import read_mask, read_table

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with (
    job(snakemake.log[0], gpus=snakemake.resources.gpu),
    late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide),
):
    inputs, params = snakemake.input, snakemake.params
    options = EngineOptions.of_job(snakemake.config["inference"], snakemake.threads, **params.engine)
    table, facts = read_table(inputs.tiles)
    grid, tissue = Grid.from_dict(facts["grid"]), read_mask(inputs.tissue)
    density = density_change(inputs.stains, params.stains)
    write_features(
        snakemake.output.features,
        open_session(inputs.encoder, options, where=snakemake.wildcards.encoder),
        lambda: Slide(inputs.slide, slide_id, params.mpp, tissue, density),
        table,
        kept=params.kept,
        size=grid.size,
        mpp=grid.tile_mpp,
        options=options,
        where=slide_id,
    )
