"""Choose the threshold of a run at which a bounded share of an area is wrong, from patients that no model saw."""

from collections import defaultdict

import cv2
import numpy as np

from drunet.annotation import rasterise
from drunet.annotation.parsed import read_parsed
from drunet.console import job, say
from drunet.files import write_json
from drunet.outcome import describe, outcome_of
from drunet.postprocess import read_probability
from drunet.tiles import read_mask
from drunet.uncertainty.risk_control import bound, called, missed, on_raster, thresholds

with job(snakemake.log[0]):
    inputs, params, kind = snakemake.input, snakemake.params, snakemake.wildcards.bound
    of_false = kind == "bound_false"
    candidates = thresholds(params.threshold, rising=of_false)
    refined = inputs.refined or [None] * len(inputs.heatmaps)
    wrong, area, lost = defaultdict(float), defaultdict(float), 0
    files = zip(params.slides, inputs.heatmaps, refined, inputs.annotations, inputs.tissue, strict=True)
    for row, heatmap, field, drawn, tissue in files:
        if failure := outcome_of(field or heatmap):
            say(f"without {describe(failure)}")
            lost += 1
            continue
        probability, grid = read_probability(heatmap, field, params.unrefined_px)
        size, shown = (grid.width, grid.height), on_raster(probability, grid, params.mpp)
        annotation = read_parsed(drawn, slide_id=row["slide"], size=size)
        region = rasterise(annotation.tumour, shown.shape, slide_size=size)
        if of_false:
            seen = cv2.resize(read_mask(tissue).astype(np.uint8), shown.shape[::-1], interpolation=cv2.INTER_AREA) > 0
            region = seen & ~region & ~rasterise(annotation.ignore, shown.shape, slide_size=size)
        um2 = grid.width * grid.height * grid.mpp**2 / region.size
        wrong[row["patient"]] += (called if of_false else missed)(shown, region, candidates) * um2
        area[row["patient"]] += np.count_nonzero(region) * um2
    shares = np.array([wrong[p] / each for p, each in area.items() if each > 0]).reshape(-1, len(candidates))
    facts = bound(shares, candidates, params.alpha, kind)
    write_json(snakemake.output.facts, {"run": snakemake.wildcards.run, "slides_without_result": lost, **facts})
