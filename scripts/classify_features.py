"""Classify the tiles of a slide by their kept features, and put their probabilities in their places."""

from drunet.console import job
from drunet.features import classify_features, open_features
from drunet.files import sha256
from drunet.grid import Grid
from drunet.heatmap import write_classified
from drunet.inference import EngineOptions, open_session
from drunet.outcome import late_failure
from drunet.tiles import read_table

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, model = snakemake.input, snakemake.wildcards.model
    table, facts = read_table(inputs.tiles)
    grid = Grid.from_dict(facts["grid"])
    session = open_session(inputs.head, EngineOptions(threads=1), where=model)
    result = classify_features(session, open_features(inputs.features, table), where=model)
    facts = {"slide": slide_id, "model": model, "model_sha256": sha256(inputs.head)}
    write_classified(snakemake.output.tiles, snakemake.output.heatmap, table, result, grid, facts)
