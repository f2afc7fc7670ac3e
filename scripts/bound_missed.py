"""Choose the threshold of a run at which a bounded share of tumour is missed, from patients that no model saw."""

from collections import defaultdict

import numpy as np

from drunet.annotation import rasterise
from drunet.annotation.parsed import read_parsed
from drunet.console import job, say
from drunet.files import write_json
from drunet.outcome import describe, outcome_of
from drunet.postprocess import read_probability
from drunet.uncertainty.risk_control import bound, missed, on_raster, thresholds

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    candidates, refined = thresholds(params.threshold), inputs.refined or [None] * len(inputs.heatmaps)
    below, tumour, lost = defaultdict(float), defaultdict(float), 0
    for row, heatmap, field, drawn in zip(params.slides, inputs.heatmaps, refined, inputs.annotations, strict=True):
        if failure := outcome_of(field or heatmap):
            say(f"without {describe(failure)}")
            lost += 1
            continue
        probability, grid = read_probability(heatmap, field, params.unrefined_px)
        size, shown = (grid.width, grid.height), on_raster(probability, grid, params.mpp)
        truth = rasterise(read_parsed(drawn, slide_id=row["slide"], size=size).tumour, shown.shape, slide_size=size)
        um2 = grid.width * grid.height * grid.mpp**2 / truth.size
        below[row["patient"]] += missed(shown, truth, candidates) * um2
        tumour[row["patient"]] += np.count_nonzero(truth) * um2
    shares = np.array([below[p] / area for p, area in tumour.items() if area > 0]).reshape(-1, len(candidates))
    facts = bound(shares, candidates, params.alpha)
    write_json(snakemake.output.facts, {"run": snakemake.wildcards.run, "slides_without_result": lost, **facts})
