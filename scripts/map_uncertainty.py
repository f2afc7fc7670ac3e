"""Ask a classifier, and the networks that learnt from other patients, for the tiles of a slide in several views."""

from drunet.console import job
from drunet.grid import Grid
from drunet.heatmap import stitch, write_heatmap
from drunet.inference import EngineOptions, layout_of, open_session
from drunet.outcome import late_failure
from drunet.slide import Slide
from drunet.stains import density_change
from drunet.tiles import read_mask, read_table, write_table
from drunet.uncertainty.views import spread

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
    found = spread(
        [open_session(path, options, where=name) for path, name in zip(inputs.models, params.models, strict=True)],
        lambda: Slide(inputs.slide, slide_id, params.mpp, tissue, density),
        table,
        views=params.views,
        size=grid.size,
        mpp=grid.tile_mpp,
        options=options,
        layout=layout_of(params.settings),
        where=slide_id,
    )
    about = {"slide": slide_id, "models": params.models, "views": params.views, "shows": "sd of the answers"}
    write_table(snakemake.output.tiles, found, {"grid": grid.to_dict(), **about})
    field = stitch(found.rename(columns={"sd": "p_tumour"}), grid)
    write_heatmap(snakemake.output.map, field, grid, about)
