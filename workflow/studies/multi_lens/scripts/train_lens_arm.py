"""Train a classifier of small images once, with lenses of one strength or none, and test it."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.training.device import need_gpu
from studies.multi_lens.arms import lenses_of, strength_of
from studies.multi_lens.image_sets import read_written_image_sets
from studies.multi_lens.tables import write_outcome
from studies.multi_lens.training import identity, train_image_classifier

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    wildcards, params = snakemake.wildcards, snakemake.params
    settings = params.settings
    training, test = read_written_image_sets(snakemake.input.images)
    strength, seed = strength_of(wildcards.arm), params.seed + int(wildcards.seed)
    state = Path(snakemake.output.outcome).with_suffix(".state")
    history, predicted = train_image_classifier(
        f"{wildcards.dataset}, {wildcards.arm}, seed {wildcards.seed}",
        settings,
        training,
        test,
        lenses=lenses_of(settings["multi_lens"], strength, settings["size"]),
        seed=seed,
        folder=state,
        identity=identity(settings, strength, seed, [snakemake.input.images, *snakemake.input.weights], params.code),
    )
    write_outcome(
        snakemake.output.outcome,
        snakemake.output.predictions,
        facts={
            "dataset": wildcards.dataset,
            "arm": wildcards.arm,
            "strength": strength,
            "seed": int(wildcards.seed),
            "training_images": round(settings["share"] * len(training)),
            "test_images": len(test),
        },
        history=history,
        labels=test.labels,
        predicted=predicted,
    )
    shutil.rmtree(state)
