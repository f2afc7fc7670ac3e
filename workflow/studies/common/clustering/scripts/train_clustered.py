"""Train a few-shot or many-shot classifier on clustered tiles."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.training.device import need_gpu
from drunet.training.readers import SlideSource
from studies.common.clustering.training import train_clustered

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    slides = [SlideSource(p, s["slide_id"], s["mpp"]) for p, s in zip(inputs.slides, params.slides, strict=True)]
    state = Path(output.weights).parent / ".state"
    trained = train_clustered(
        snakemake.wildcards.model,
        params.settings,
        slides,
        inputs.clusters,
        least=params.least,
        seed=params.seed,
        folder=state,
        start={"weights": inputs.weights, "facts": inputs.start} if inputs.start else None,
        threads=snakemake.threads,
        code=params.code,
    )
    trained.write(weights=output.weights, history=output.history, facts=output.facts, settings=params.settings)
    shutil.rmtree(state)
