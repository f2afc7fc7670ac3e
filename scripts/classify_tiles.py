"""Classify the tiles of a slide on ONNX Runtime, and put their probabilities in their places."""

from drunet.console import job
from drunet.files import sha256
from drunet.grid import Grid
from drunet.heatmap import write_classified
from drunet.inference import EngineOptions, classify, layout_of, open_session
from drunet.outcome import late_failure
from drunet.quality import TileMeasures
from drunet.slide import Slide
from drunet.stains import density_change
from drunet.tiles import read_mask, read_table

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with (
    job(snakemake.log[0], gpus=snakemake.resources.gpu),
    late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide),
):
    params = snakemake.params
    options = EngineOptions.of_job(snakemake.config["inference"], snakemake.threads, **params.engine)
    table, facts = read_table(snakemake.input.tiles)
    grid, tissue = Grid.from_dict(facts["grid"]), read_mask(snakemake.input.tissue)
    density = density_change(snakemake.input.stains, params.stains)
    seen = TileMeasures(len(table), grid.tile_mpp)
    result = classify(
        open_session(snakemake.input.model, options, where=snakemake.wildcards.model),
        lambda: Slide(snakemake.input.slide, slide_id, params.mpp, tissue, density),
        table["x"].to_numpy(),
        table["y"].to_numpy(),
        size=grid.size,
        mpp=grid.tile_mpp,
        options=options,
        layout=layout_of(params.settings),
        look=seen,
        where=slide_id,
    )
    facts = {
        "slide": slide_id,
        "model": snakemake.wildcards.model,
        "model_sha256": sha256(snakemake.input.model),
        "provider": options.provider,
        "precision": options.precision,
        **({"stains_normalised": density is not None} if params.stains else {}),
    }
    files = snakemake.output.tiles, snakemake.output.heatmap
    write_classified(*files, table, result, grid, facts, seen.table(), params.set_aside)
