"""Write the page of the saliency study."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.files import write_text
from studies.common.page import render_section
from studies.saliency.tables import page_view

with job(snakemake.log[0]):
    inputs, params, output = snakemake.input, snakemake.params, snakemake.output
    explained = [
        (
            model,
            pd.read_csv(tiles, sep="\t", dtype={"slide": str, "tile": str}, keep_default_na=False),
            pd.read_csv(metrics, sep="\t", keep_default_na=False, na_values=["nan"]),
        )
        for model, tiles, metrics in zip(params.settings["models"], inputs.tiles, inputs.metrics, strict=True)
    ]
    write_text(output.metrics, pd.concat([metrics for *_, metrics in explained]).to_csv(sep="\t", index=False))
    render_section(Path(output.section).parent, Path(inputs.template), page_view(explained, params.settings))
