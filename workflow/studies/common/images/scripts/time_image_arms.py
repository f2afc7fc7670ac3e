"""Count and time what an image costs in each network of a task."""

from pathlib import Path

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.inference import EngineOptions
from studies.common.cost import arithmetic, cost_table, time_per_tile

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    files = [Path(folder) / f"{params.trial}.onnx" for folder in inputs.models]
    models = dict(zip(params.arms, files, strict=True))
    facts = [read_json(path) for path in inputs.facts]
    speed = {key: value for key, value in params.timing.items() if key != "repeats"}
    sizes = {arm: known["size"] for arm, known in zip(params.arms, facts, strict=True)}
    timed = time_per_tile(models, sizes, EngineOptions(**params.engine, **speed), repeats=params.timing["repeats"])
    parameters = {arm: known["parameters"] for arm, known in zip(params.arms, facts, strict=True)}
    counted = {arm: arithmetic(path) for arm, path in models.items()}
    write_tsv(cost_table(parameters, counted, timed), snakemake.output.cost)
