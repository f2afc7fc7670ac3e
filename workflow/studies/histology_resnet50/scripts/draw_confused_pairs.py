"""Show malignant images that were taken for the other cancer, and what the decisions depend on."""

import pandas as pd

from drunet.console import job
from drunet.files import read_json
from drunet.report.figures import save
from studies.common.images.pictures import confused_figure

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    predictions, facts = pd.read_parquet(inputs.predictions), read_json(inputs.facts)
    wanted = {key: params.confused[key] for key in ("classes", "pairs", "at_most")}
    figure = confused_figure(predictions, facts, inputs.weights, params.root, trial=params.trial, **wanted)
    save(figure, snakemake.output.figure, dpi=250)
