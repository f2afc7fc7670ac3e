"""Train a network of boxes on one subtype, try it on the others, and fine-tune it for each."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.training.device import need_gpu
from studies.common.series import keep_weights
from studies.ct_boxes.training import train_box_arm
from studies.ct_boxes.trials import read_slices

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    inputs, outputs, params, wildcards = snakemake.input, snakemake.output, snakemake.params, snakemake.wildcards
    state = Path(outputs.predictions).with_suffix(".state")
    outcome = train_box_arm(
        f"ct_boxes, {wildcards.protocol}, {wildcards.arm}",
        params.arm,
        read_slices(inputs.slices),
        inputs.folder,
        protocol=wildcards.protocol,
        folder=state,
        threads=snakemake.threads,
        # Decoded slices may take a quarter of the job's memory.
        keep_mb=snakemake.resources.mem_mb / 4,
        **{k: getattr(params, k) for k in ("size", "source", "targets", "parts", "validation_share", "seed", "code")},
    )
    keep_weights(state, [training["key"] for training in outcome.facts["trainings"]], outputs.weights)
    outcome.write(predictions=outputs.predictions, facts=outputs.facts, history=outputs.history)
    shutil.rmtree(state)
