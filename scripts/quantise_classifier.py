"""Bring a classifier to int8 on tiles of the cohort, and hold it against what it was on others."""

from contextlib import ExitStack

import numpy as np

from drunet.console import job, say
from drunet.files import write_json
from drunet.grid import Grid
from drunet.inference import EngineOptions, layout_of
from drunet.outcome import without_failed
from drunet.quantisation import draw_tiles, quantise
from drunet.settings.inference import QuantisationSettings
from drunet.slide import Slide
from drunet.stains import density_change
from drunet.tiles import read_mask, read_table

with job(snakemake.log[0]), ExitStack() as stack:
    inputs, params, model = snakemake.input, snakemake.params, snakemake.wildcards.model
    settings = QuantisationSettings.of(params.int8, "inference.int8")
    files = inputs.slides, inputs.tissue, inputs.tiles, inputs.stains
    slides, (paths, masks, tables, stains) = without_failed(params.slides, *files)
    opened = []
    for k, slide in enumerate(slides):
        density = density_change(stains[k : k + 1], params.stains)
        opening = Slide(paths[k], slide["slide_id"], slide["mpp"], read_mask(masks[k]), density)
        opened.append((stack.enter_context(opening), tables[k]))
    # Every other slide is held back; of a single one, tiles that are not calibrated with.
    grid = Grid.from_dict(read_table(tables[0])[1]["grid"])
    rng, counts = np.random.default_rng(params.seed), (settings.tiles, settings.held)
    parts = [opened[::2], opened[1::2]] if len(opened) > 1 else [opened]
    wanted = counts if len(opened) > 1 else [sum(counts)]
    drawn = [draw_tiles(p, n, size=grid.size, mpp=grid.tile_mpp, rng=rng) for p, n in zip(parts, wanted, strict=True)]
    if len(drawn) == 1:
        cut = len(drawn[0]) * settings.tiles // sum(counts)
        drawn = [drawn[0][:cut], drawn[0][cut:]]
    report = quantise(
        inputs.model,
        snakemake.output.model,
        *drawn,
        settings=settings,
        options=EngineOptions(params.provider, threads=snakemake.threads),
        layout=layout_of(params.settings),
        threshold=params.threshold,
        where=model,
    )
    learnt = "its training slides" if params.learnt else "slides of the run, as it was not trained here"
    say(f"{model} in int8, by {learnt}: mean difference {report['mean_difference']:.4f}, sides {report['sides']:.4f}")
    names = {"calibrated_on": [s["slide_id"] for s in slides[::2]], "held_on": [s["slide_id"] for s in slides[1::2]]}
    write_json(snakemake.output.report, {"name": model, **report, **names, "trained_on_these": params.learnt})
