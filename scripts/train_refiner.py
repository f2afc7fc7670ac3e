"""Train a refinement network on slides and their heatmaps."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.settings.refiner import RefinerSettings
from drunet.training.checkpoint import alone_in
from drunet.training.device import need_gpu
from drunet.training.readers import split_slides
from drunet.training.recipe import as_it_came
from drunet.training.refiner import RefinerSlide, train_refiner

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    inputs, params = snakemake.input, snakemake.params
    training, validation, heatmaps = split_slides(
        params.slides, params.training, inputs.slides, inputs.tiles, inputs.annotations, inputs.heatmaps
    )
    entries = [RefinerSlide(*pair) for pair in zip([*training, *validation], heatmaps, strict=True)]
    state = Path(snakemake.output.weights).parent / ".state"
    settings = RefinerSettings.of(params.settings, f"refiners.{snakemake.wildcards.model}")
    start = next(iter(inputs.weights), None) if isinstance(inputs.weights, list) else inputs.weights
    # Until the states are gone: whoever began to train before that would lose them on the way.
    with alone_in(state, snakemake.wildcards.model):
        if settings.training.epochs:
            trained = train_refiner(
                snakemake.wildcards.model,
                settings,
                entries[: len(training)],
                entries[len(training) :],
                seed=params.seed,
                folder=state,
                start=start,
                threads=snakemake.threads,
                code=params.code,
            )
        else:
            shape = {"size": settings.options["size"], "mpp": settings.mpp}
            trained = as_it_came(settings, shape, seed=params.seed, start=start)
        output = snakemake.output
        trained.write(weights=output.weights, history=output.history, facts=output.facts, settings=params.settings)
        shutil.rmtree(state, ignore_errors=not settings.training.epochs)
