"""Count what a tile costs in each student and in its teacher, and time them in turn."""

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.inference import EngineOptions, layout_of
from studies.common.cost import arithmetic, cost_table, seconds_in_turn, speed_table, timings

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    models = dict(zip(params.arms, inputs.models, strict=True))
    repeats = params.timing["repeats"]
    options = EngineOptions(**params.engine, **{k: v for k, v in params.timing.items() if k != "repeats"})
    layouts = {arm: layout_of(settings) for arm, settings in zip(params.arms, params.settings, strict=True)}
    seconds = seconds_in_turn(models, params.size, options, repeats=repeats, layouts=layouts)
    exports = {arm: read_json(path) for arm, path in zip(params.arms, inputs.exports, strict=True)}
    counted = {arm: arithmetic(path) for arm, path in models.items()}
    cost = cost_table({arm: e["parameters"] for arm, e in exports.items()}, counted, timings(seconds, options))
    speed = speed_table(seconds, params.reference, options.batch_size)
    write_tsv(cost.merge(speed, on="arm", validate="1:1"), snakemake.output.cost)
