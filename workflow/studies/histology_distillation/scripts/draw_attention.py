"""Show where the stages and the pyramid of a trained student see evidence for the class that it calls."""

import pandas as pd

from drunet.console import job
from drunet.files import read_json
from drunet.report.figures import save
from studies.common.images.pictures import attention_figure

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    figure = attention_figure(
        pd.read_parquet(inputs.predictions), read_json(inputs.facts), inputs.weights, params.root, trial=params.trial
    )
    save(figure, snakemake.output.figure, dpi=250)
