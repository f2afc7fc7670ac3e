"""Train a refinement network on slides and their heatmaps."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.settings.refiner import RefinerSettings
from drunet.training.classifier import AnnotatedSlide
from drunet.training.device import need_gpu
from drunet.training.refiner import RefinerSlide, train_refiner

with job(snakemake.log[0]):
    need_gpu(snakemake.resources.gpu)
    inputs, params = snakemake.input, snakemake.params
    slides = AnnotatedSlide.zip(params.slides, inputs.slides, inputs.tiles, inputs.annotations)
    entries = [RefinerSlide(*pair) for pair in zip(slides, inputs.heatmaps, strict=True)]
    state = Path(snakemake.output.weights).parent / ".state"
    trained = train_refiner(
        snakemake.wildcards.model,
        RefinerSettings.of(params.settings, f"refiners.{snakemake.wildcards.model}"),
        entries[: params.training],
        entries[params.training :],
        classes=params.classes,
        seed=params.seed,
        folder=state,
        start=next(iter(inputs.weights), None) if isinstance(inputs.weights, list) else inputs.weights,
        code=params.code,
    )
    output = snakemake.output
    trained.write(output.weights, output.history, output.facts, params.settings)
    shutil.rmtree(state)
