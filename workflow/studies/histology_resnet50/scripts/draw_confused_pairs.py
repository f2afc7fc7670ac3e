"""Show what decisions depend on: of malignant images taken for the other cancer, and of the surest of every class."""

import pandas as pd

from drunet.console import job
from drunet.files import read_json
from drunet.report.figures import save
from studies.common.images.pictures import confused_figure, surest_figure

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    predictions, facts = pd.read_parquet(inputs.predictions), read_json(inputs.facts)
    wanted = {key: params.confused[key] for key in ("classes", "pairs", "at_most")}
    shown = predictions, facts, inputs.weights, params.root, params.trial
    save(confused_figure(*shown, **wanted), snakemake.output.figure, dpi=250)
    save(surest_figure(*shown), snakemake.output.saliency, dpi=250)
