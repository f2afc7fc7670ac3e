"""Read the filled scoring sheets, unblind them, and write the study's page."""

from pathlib import Path

import numpy as np
import pandas as pd

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.common.page import render_section
from studies.scores import tables
from studies.scores.figures import dice_figure, distribution_figure
from studies.scores.sheets import read_filled

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    key = pd.read_csv(inputs.key, sep="\t", dtype=str, keep_default_na=False).astype({"presentation": int})
    cases, (measured,) = without_failed(params.cases, inputs.measured)
    dsc = {
        tuple(case): next(s["dsc"] for s in read_json(path)["stages"] if s["stage"] == "segmentation")
        for case, path in zip(cases, measured, strict=True)
    }
    sheets = [
        read_filled(path, key[key["reader"] == reader])
        for reader, path in zip(params.filled, inputs.filled, strict=True)
    ]
    scores = pd.concat(sheets, ignore_index=True) if sheets else key.head(0).assign(score=0)
    outlines = zip(scores["run"], scores["slide"], strict=True)
    scores["dsc"] = np.array([dsc.get(outline, np.nan) for outline in outlines], float)
    found = tables.summarise_scores(scores), tables.agreement(scores), tables.correlation(scores)
    write_tsv(scores, output.scores)
    write_tsv(tables.long_metrics(*found), output.metrics)
    folder, figures = Path(output.section).parent, Path(output.figures)
    figures.mkdir(parents=True)
    if sheets:
        save(distribution_figure(scores), figures / "distribution.png", dpi=200)
        save(dice_figure(scores), figures / "dice.png", dpi=200)
    published = read_published(inputs.published).set_index("figure")["value"][tables.PUBLISHED_FACT]
    folders = [(reader, f"{folder}/{reader}") for reader in params.readers]
    unread = [reader for reader in params.readers if reader not in params.filled]
    view = tables.page_view(*found, published, folders, unread)
    render_section(folder, Path(inputs.template), view)
