"""Show slices with their annotated and predicted boxes, the outline in these, and where the network looks."""

import pandas as pd

from drunet.console import job
from drunet.files import read_json, write_json
from drunet.report.figures import save
from studies.ct_boxes.figures import box_pictures
from studies.ct_boxes.pictures import choose_slices, outlines_geojson, show_slices

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    predictions = pd.read_parquet(inputs.predictions)
    chosen = choose_slices(predictions, params.source, params.targets, params.slices)
    shown = show_slices(chosen, read_json(inputs.facts), inputs.weights, inputs.folder)
    save(box_pictures(shown), output.figure, dpi=250)
    write_json(output.outlines, outlines_geojson(shown))
