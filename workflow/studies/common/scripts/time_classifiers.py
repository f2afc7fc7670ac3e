"""Count what a tile, or an image, costs in each classifier of a study, and time the classifiers in turn."""

from pathlib import Path

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.inference import EngineOptions, layout_of
from studies.common.cost import arithmetic, cost_table, seconds_in_turn

with job(snakemake.log[0], gpus=snakemake.resources.gpu):
    inputs, params = snakemake.input, snakemake.params
    # A model is a file, or a folder with a file per trial.
    models = {arm: Path(path, params.get("file", "")) for arm, path in zip(params.arms, inputs.models, strict=True)}
    facts = {arm: read_json(path) for arm, path in zip(params.arms, inputs.facts, strict=True)}
    options = EngineOptions(**params.engine, **{k: v for k, v in params.timing.items() if k != "repeats"})
    seconds = seconds_in_turn(
        models,
        {arm: params.get("size") or known["size"] for arm, known in facts.items()},
        options,
        repeats=params.timing["repeats"],
        layouts={arm: layout_of(settings) for arm, settings in params.get("layouts", {}).items()},
    )
    parameters = {arm: known["parameters"] for arm, known in facts.items()}
    counted = {arm: arithmetic(path) for arm, path in models.items()}
    cost = cost_table(parameters, counted, seconds, options, reference=params.get("reference"))
    write_tsv(cost, snakemake.output.cost)
