"""Write the card of a trained model and draw its training."""

import pandas as pd

from drunet.console import job
from drunet.files import read_json, sha256
from drunet.report.card import write_card
from drunet.report.figures import save, training_curves

with job(snakemake.log[0]):
    name, facts = snakemake.wildcards.model, read_json(snakemake.input.facts)
    history = pd.read_csv(snakemake.input.history, sep="\t")
    keep = facts["settings"]["training"].get("keep", "best_loss")
    save(training_curves(history, f"Training of {name}", keep), snakemake.output.curves)
    write_card(
        snakemake.output.card,
        name=name,
        facts=facts,
        history=history,
        weights_sha256=sha256(snakemake.input.weights),
    )
