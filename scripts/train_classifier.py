"""Train a patch-wise classifier."""

import shutil
from pathlib import Path

from drunet.atomic import write_json
from drunet.console import job
from drunet.inference import sha256
from drunet.report.figures import save, training_curves
from drunet.tiles import TileRules
from drunet.training.card import write_card
from drunet.training.classifier import AnnotatedSlide, train_classifier
from drunet.training.loop import save_inference_weights

with job(snakemake.log[0]):
    inputs, params, output = snakemake.input, snakemake.params, snakemake.output
    slides = AnnotatedSlide.zip(params.slides, inputs.slides, inputs.tiles, inputs.annotations)
    state = Path(output.weights).parent / ".state"
    trained = train_classifier(
        snakemake.wildcards.model,
        params.settings,
        slides[: params.training],
        slides[params.training :],
        rules=TileRules(**params.rules),
        classes=params.classes,
        seed=params.seed,
        folder=state,
    )
    save_inference_weights(trained.model, Path(output.weights))
    trained.history.to_csv(output.history, sep="\t", index=False)
    write_json(output.facts, {**trained.facts, "settings": params.settings})
    save(training_curves(trained.history, f"Training of {snakemake.wildcards.model}"), output.curves)
    write_card(
        output.card,
        name=snakemake.wildcards.model,
        task="Patch-wise classifier: the probability that a tile shows lung tumour.",
        settings=params.settings,
        facts=trained.facts,
        history=trained.history,
        weights_sha256=sha256(output.weights),
    )
    shutil.rmtree(state)
