"""Read the filled scoring sheets, unblind them, and say how well the outlines were found."""

from pathlib import Path

import numpy as np
import pandas as pd

from drunet.console import job
from drunet.files import read_json, write_tsv
from drunet.outcome import without_failed
from drunet.report.section import write_section
from studies.scores import section as pages
from studies.scores.scores import agreement, correlation, long_metrics, read_filled, summarise_scores

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
    found = summarise_scores(scores), agreement(scores), correlation(scores)
    folder, published = Path(output.section).parent, pages.published_mean(inputs.published)
    Path(output.figures).mkdir(parents=True)
    if sheets:
        figures = pages.write_figures(Path(output.figures), scores)
        unread = [reader for reader in params.readers if reader not in params.filled]
        section = pages.scores_section(*found, figures, published, unread)
    else:
        section = pages.empty_section({r: f"{folder}/{r}" for r in params.readers}, published)
    write_tsv(scores, output.scores)
    write_tsv(long_metrics(*found), output.metrics)
    write_section(folder, section)
