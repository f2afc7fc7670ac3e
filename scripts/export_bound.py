"""Write wider outlines of a slide, or narrower ones, that get a bounded share of an area wrong."""

import cv2
import numpy as np
import pandas as pd

from drunet.console import job, say
from drunet.export.outline import polygons, write_geojson
from drunet.files import read_json
from drunet.outcome import late_failure
from drunet.postprocess import read_probability
from drunet.tiles import read_mask, read_table
from drunet.uncertainty.appearance import CANNOT_TELL, likeness, read_reference, withdrawn
from drunet.uncertainty.risk_control import on_raster, threshold_of

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, params = snakemake.input, snakemake.params
    status, facts = read_json(inputs.status), read_json(inputs.bound)
    # Of a cascade no tile is measured.
    table = read_table(inputs.classified)[0] if inputs.classified else pd.DataFrame()
    found = likeness(table, read_reference(inputs.appearance))
    if lost := withdrawn(found):
        say(f"{slide_id}: bound {lost}")
    probability, grid = read_probability(inputs.heatmap, inputs.refined, params.unrefined_px)
    above = on_raster(probability, grid, params.mpp) >= np.float32(threshold_of(facts, snakemake.wildcards.run))
    # Smoothing and the finest raster may have pushed the run's own outline over it.
    own = cv2.resize(read_mask(inputs.mask).astype(np.uint8), above.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    wider = facts["kind"] == "bound"
    promise = f"At most {facts['alpha']:g} of {'tumour outside' if wider else 'the tissue that is no tumour inside'}"
    if found["appearance"] == CANNOT_TELL:
        promise += "; whether the slide is like those that the model learnt from cannot be told"
    write_geojson(
        snakemake.output.outline,
        polygons(above | (own > 0) if wider else above & (own > 0), (grid.width, grid.height)),
        slide_id=slide_id,
        name=f"{'Wider' if wider else 'Narrower'} outline, bound {lost}" if lost else promise,
        colour=(230, 159, 0) if wider else (0, 114, 178),
        mpp=grid.mpp,
        counted_from=tuple(status["geojson_origin"]),
        unread_mm2=status["unread_mm2"],
    )
