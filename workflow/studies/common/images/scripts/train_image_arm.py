"""Train a network on the images of a task, in every protocol and fold, and test it."""

import shutil
from pathlib import Path

from drunet.console import job
from drunet.inference import EngineOptions
from drunet.training.device import need_gpu
from studies.common.images.folder import read_list
from studies.common.images.training import train_arm
from studies.common.images.view import View
from studies.common.series import keep_weights

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    need_gpu(snakemake.resources.gpu)
    inputs, outputs, params, wildcards = snakemake.input, snakemake.output, snakemake.params, snakemake.wildcards
    name = f"{wildcards.study}, {wildcards.task}, {wildcards.arm}"
    state = Path(outputs.predictions).with_suffix(".state")
    teachers = {path.stem: path for path in Path(inputs.teacher).glob("*.onnx")} if inputs.teacher else {}
    outcome = train_arm(
        name,
        params.arm,
        params.task,
        read_list(inputs.images),
        params.root,
        view=View.of(params.view, f"study_settings.{wildcards.study}.view"),
        validation_share=params.validation_share,
        distillation=params.lesson,
        seed=params.seed,
        folder=state,
        teachers=teachers,
        # No params: another provider's answers differ in their last digits, which is no reason to train anew.
        engine=EngineOptions(snakemake.config["inference"]["provider"], threads=snakemake.threads),
        threads=snakemake.threads,
        # Decoded images may take a quarter of the job's memory.
        keep_mb=snakemake.resources.mem_mb / 4,
        code=params.code,
    )
    keep_weights(state, params.keep, outputs.weights)
    outcome.write(predictions=outputs.predictions, facts=outputs.facts, history=outputs.history)
    shutil.rmtree(state)
