"""Write the wider outlines of a slide, outside which a bounded share of tumour is expected."""

import cv2
import numpy as np

from drunet.console import job, say
from drunet.export.outline import polygons, write_geojson
from drunet.files import read_json
from drunet.outcome import late_failure
from drunet.postprocess import read_probability
from drunet.tiles import read_mask, read_table
from drunet.uncertainty.appearance import likeness, read_reference, withdrawn
from drunet.uncertainty.risk_control import on_raster, threshold_of

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    inputs, params = snakemake.input, snakemake.params
    status, facts = read_json(inputs.status), read_json(inputs.bound)
    lost = ""
    if inputs.classified:
        lost = withdrawn(likeness(read_table(inputs.classified)[0], read_reference(inputs.appearance)))
        if lost:
            say(f"{slide_id}: bound {lost}")
    probability, grid = read_probability(inputs.heatmap, inputs.refined, params.unrefined_px)
    wide = on_raster(probability, grid, params.mpp) >= np.float32(threshold_of(facts, snakemake.wildcards.run))
    # Smoothing and the finest raster may have pushed the run's own outline over it.
    own = cv2.resize(read_mask(inputs.mask).astype(np.uint8), wide.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    write_geojson(
        snakemake.output.outline,
        polygons(wide | (own > 0), (grid.width, grid.height)),
        slide_id=slide_id,
        name=f"Wider outline, bound {lost}" if lost else f"At most {facts['alpha']:g} of tumour outside",
        colour=(230, 159, 0),
        mpp=grid.mpp,
        counted_from=tuple(status["geojson_origin"]),
        unread_mm2=status["unread_mm2"],
    )
