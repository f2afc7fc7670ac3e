"""Gather what was seen inside the classifiers on one page."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import write_text
from drunet.report.section import write_section
from studies.saliency.section import SeenInside, saliency_section

with job(snakemake.log[0]):
    inputs, params, output = snakemake.input, snakemake.params, snakemake.output
    seen = [
        SeenInside(
            model,
            pd.read_csv(tiles, sep="\t", dtype={"slide": str, "tile": str}, keep_default_na=False),
            pd.read_csv(metrics, sep="\t", keep_default_na=False, na_values=["nan"]),
            Path(figure),
        )
        for model, tiles, metrics, figure in zip(
            params.settings["models"], inputs.tiles, inputs.metrics, inputs.figures, strict=True
        )
    ]
    write_text(output.metrics, pd.concat([s.metrics for s in seen]).to_csv(sep="\t", index=False))
    write_section(Path(output.section).parent, saliency_section(seen, params.settings))
