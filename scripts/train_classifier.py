"""Train a patch-wise classifier."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.inference import EngineOptions, layout_of
from drunet.settings.classifier import ClassifierRecipe
from drunet.tiles import TileRules
from drunet.training.checkpoint import alone_in
from drunet.training.classifier import train_classifier
from drunet.training.device import need_gpu
from drunet.training.distillation import Lesson
from drunet.training.readers import normalised, split_slides
from drunet.training.recipe import as_it_came

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    inputs, params = snakemake.input, snakemake.params
    # Scores are of training slides alone; validation slides have their tile table in that place.
    scores = [*inputs.scores, *inputs.tiles[params.training :]] if inputs.scores else []
    training, validation, further = split_slides(
        params.slides, params.training, inputs.slides, inputs.tiles, inputs.annotations, [*scores, *inputs.stains]
    )
    count, kept = len(training), len(training) + len(validation)
    scores, stains = (further[:kept], further[kept:]) if scores else ([], further)
    state = Path(snakemake.output.weights).parent / ".state"
    settings = ClassifierRecipe.of(params.settings, f"classifiers.{snakemake.wildcards.model}")
    training = normalised(training, stains[:count], settings.stain_normalisation)
    validation = normalised(validation, stains[count:], settings.stain_normalisation)
    start = next(iter(inputs.weights), None) if isinstance(inputs.weights, list) else inputs.weights
    lesson = None
    if settings.distillation:
        lesson = Lesson.read(
            snakemake.wildcards.model,
            settings.distillation,
            inputs.teacher,
            size=params.tile["size"],
            layout=layout_of(params.teacher),
            # No params: another provider's answers differ in their last digits, which is no reason to train anew.
            options=EngineOptions(snakemake.config["inference"]["provider"], threads=snakemake.threads),
        )
    # Until the states are gone: whoever began to train before that would lose them on the way.
    with alone_in(state, snakemake.wildcards.model):
        if settings.training.epochs:
            trained = train_classifier(
                snakemake.wildcards.model,
                settings,
                training,
                validation,
                rules=TileRules(**params.rules),
                seed=params.seed,
                folder=state,
                scores=scores[:count],
                start=start,
                lesson=lesson,
                threads=snakemake.threads,
                code=params.code,
            )
        else:
            trained = as_it_came(settings, {k: params.tile[k] for k in ("size", "mpp")}, seed=params.seed, start=start)
        output = snakemake.output
        trained.write(weights=output.weights, history=output.history, facts=output.facts, settings=params.settings)
        shutil.rmtree(state, ignore_errors=not settings.training.epochs)
