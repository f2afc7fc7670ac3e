"""Train the head of a patch-wise classifier on the kept features of an encoder, and convert it to ONNX."""

import shutil
from dataclasses import replace
from pathlib import Path

from drunet.console import job
from drunet.export.head import head_opset
from drunet.export.onnx_model import export_trained
from drunet.files import read_json
from drunet.settings.encoder import HeadRecipe
from drunet.training.checkpoint import alone_in
from drunet.training.head import train_head
from drunet.training.readers import split_slides

with job(snakemake.log[0]):
    inputs, params, output = snakemake.input, snakemake.params, snakemake.output
    training, validation, features = split_slides(
        params.slides, params.training, inputs.slides, inputs.tiles, inputs.annotations, inputs.features
    )
    state, name = Path(output.weights).parent / ".state", snakemake.wildcards.model
    with alone_in(state, name):
        trained = train_head(
            name,
            HeadRecipe.of(params.settings, f"classifiers.{name}"),
            training,
            validation,
            features,
            encoder=read_json(inputs.encoder),
            seed=params.seed,
            folder=state,
            code=params.code,
        )
        # At once: to import what converts it takes longer than to convert it, and each fold has a head.
        head = export_trained(
            trained.facts,
            None,
            output.head,
            opset=head_opset(trained.facts["encoder"]["opset"]),
            name=name,
            model=trained.model,
        )
        trained = replace(trained, facts={**trained.facts, "parameters": head["parameters"]})
        trained.write(weights=output.weights, history=output.history, facts=output.facts, settings=params.settings)
        shutil.rmtree(state)
