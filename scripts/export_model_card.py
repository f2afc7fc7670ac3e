"""Write the card of a run's models together."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import read_json, sha256
from drunet.report.card import write_run_card

with job(snakemake.log[0]):
    inputs, names = snakemake.input, snakemake.params.models
    cards = [Path(path).read_text(encoding="utf-8") for path in inputs.cards]
    write_run_card(
        snakemake.output.card,
        snakemake.wildcards.run,
        dict(zip(names, cards, strict=True)),
        dict(zip(names, map(sha256, inputs.models), strict=True)),
        pd.read_csv(inputs.summary, sep="\t", keep_default_na=False, na_values=[""]),
        next((read_json(path) for path in inputs.calibration), None),
    )
