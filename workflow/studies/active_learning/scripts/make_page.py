"""Simulate annotation round by round, and write the study's page."""

from pathlib import Path

import pandas as pd

from drunet.console import job
from drunet.errors import DrunetError
from drunet.files import write_tsv
from drunet.grid import Grid
from drunet.outcome import without_failed
from drunet.report.figures import save
from drunet.tiles import read_table
from drunet.uncertainty.regions import cells_across, squares
from studies.active_learning import simulation as study
from studies.active_learning.figures import curve_figure
from studies.common.page import render_section

with job(snakemake.log[0]):
    inputs, output, params, settings = snakemake.input, snakemake.output, snakemake.params, snakemake.params.settings
    rows, (tables, colours) = without_failed(params.slides, inputs.tiles, inputs.colours)
    tiles, regions = [], []
    for row, table, colour in zip(rows, tables, colours, strict=True):
        listed, facts = read_table(table)
        grid = Grid.from_dict(facts["grid"])
        own = listed.merge(read_table(colour)[0], on=["column", "row"], validate="1:1").assign(**row)
        cells = cells_across(grid, settings["side_um"])
        tiles.append(own.assign(square_column=own["column"] // cells, square_row=own["row"] // cells))
        if row["split"] != "test":
            regions.append(squares(own, grid, settings["side_um"]).assign(slide=row["slide"]))
    if not regions or len(regions) == len(rows):
        mend = "Outline the whole tumour (annotation_kind wta) of slides of split train and of split test."
        what = "there are no slides to learn from, or none to judge by"
        raise DrunetError(what, where="study_active_learning", mend=mend)
    every, candidates = pd.concat(tiles, ignore_index=True), pd.concat(regions, ignore_index=True)
    pool, judged = every[every["split"] != "test"].reset_index(drop=True), every[every["split"] == "test"]
    rounds = study.simulate(pool, candidates, judged, settings, params.seed)
    curves, whole = study.curves(rounds), study.dice(study.fit(pool), judged)
    write_tsv(rounds, output.rounds)
    write_tsv(curves, output.metrics)
    save(curve_figure(curves, whole), output.figure, dpi=200)
    view = {
        "settings": settings,
        "gains": study.gains(rounds),
        "last": curves[curves["regions"] == curves["regions"].max()],
        "pool": len(candidates),
        "slides": len(regions),
        "judged": len(rows) - len(regions),
        "drawn": params.drawn,
    }
    render_section(Path(output.section).parent, Path(inputs.template), view)
