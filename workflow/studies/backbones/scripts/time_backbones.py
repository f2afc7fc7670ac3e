"""Count and time what a tile costs in each classifier of the study."""

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.inference import EngineOptions, layout_of
from studies.common.cost import arithmetic, cost_table, time_per_tile

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    models = dict(zip(params.arms, inputs.models, strict=True))
    repeats = params.timing["repeats"]
    speed = {key: value for key, value in params.timing.items() if key != "repeats"}
    timed = time_per_tile(
        models,
        params.size,
        EngineOptions(**params.engine, **speed),
        repeats=repeats,
        layouts={arm: layout_of(settings) for arm, settings in zip(params.arms, params.settings, strict=True)},
    )
    exports = {arm: read_json(path) for arm, path in zip(params.arms, inputs.exports, strict=True)}
    counted = {arm: arithmetic(path) for arm, path in models.items()}
    table = cost_table({arm: export["parameters"] for arm, export in exports.items()}, counted, timed)
    write_tsv(table, snakemake.output.cost)
