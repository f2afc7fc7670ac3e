"""Choose the regions of all slides that are worth annotating next."""

from pathlib import Path

import pandas as pd

from drunet.console import job, say
from drunet.errors import FailedSlideError
from drunet.files import read_json, write_tsv
from drunet.grid import Grid
from drunet.outcome import describe
from drunet.tiles import read_table
from drunet.uncertainty.regions import COLOURS, LEAST, choose, squares, write_regions

with job(snakemake.log[0]):
    inputs, params, settings = snakemake.input, snakemake.params, snakemake.params.settings
    answers = dict(zip(params.open, inputs.answers, strict=True))
    known, candidates, origins = [], [], {}
    for slide, status, tiles, colours in zip(params.slides, inputs.status, inputs.tiles, inputs.colours, strict=True):
        try:
            table, facts = read_table(tiles)
            table = table.merge(read_table(colours)[0], on=["column", "row"], validate="1:1")
            if slide in answers:
                asked = read_table(answers[slide])[0]
                table = table.merge(asked, on=["column", "row"], validate="1:1")
        except FailedSlideError as failure:
            say(f"without {describe(failure)}")
            continue
        found = squares(table, Grid.from_dict(facts["grid"]), settings["side_um"]).assign(slide=slide)
        annotated = found["labelled"] >= LEAST
        known.append(found[annotated])
        if slide in answers:
            origins[slide] = tuple(read_json(status)["geojson_origin"])
            candidates.append(found[~annotated])
    nothing = [pd.DataFrame(columns=["x0", "y0", "x1", "y1", "labelled", "unsure", *COLOURS, "slide"])]
    chosen = choose(
        pd.concat(candidates or nothing, ignore_index=True),
        pd.concat(known or nothing)[COLOURS].to_numpy(float),
        **{key: settings[key] for key in ("count", "per_slide", "weight")},
    )
    if chosen.empty:
        say("no region is left to annotate: every usable slide is outlined in full, kept for a test, or has none")
    columns = ["rank", "slide", "x0", "y0", "x1", "y1", "why", "unsure", "unsure_rank", "unlike_rank"]
    write_tsv(chosen[columns], snakemake.output.table)
    Path(snakemake.output.outlines).mkdir(parents=True)
    for slide, origin in origins.items():
        own = chosen[chosen["slide"] == slide].to_dict("records")
        target = Path(snakemake.output.outlines) / f"{slide}.geojson"
        write_regions(target, own, snakemake.wildcards.model, origin)
