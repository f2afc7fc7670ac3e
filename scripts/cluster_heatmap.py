"""Refine a slide's heatmap by clustering its pixels."""

import numpy as np

from drunet.clustering import cluster_tumour
from drunet.console import job
from drunet.grid import square_to_slide
from drunet.heatmap import read_heatmap, write_field
from drunet.outcome import late_failure
from drunet.refine import refiner_inputs
from drunet.settings.clustering import ClusteringSettings
from drunet.slide import Slide

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with job(snakemake.log[0]), late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide):
    settings = ClusteringSettings.of(snakemake.params.clustering, f"runs.{snakemake.wildcards.run}.clustering")
    heatmap, grid = read_heatmap(snakemake.input.heatmap)
    height, width = shape = square_to_slide(settings.px, grid)
    with Slide(snakemake.input.slide, slide_id, snakemake.params.mpp) as slide:
        image, heat = refiner_inputs(slide, heatmap, grid, shape)
    threshold, seed = snakemake.params.threshold, snakemake.params.seed
    refined = cluster_tumour(image, heat, settings, threshold=threshold, seed=seed).astype(np.float32)
    resolution = (grid.width * grid.mpp / width, grid.height * grid.mpp / height)
    write_field(snakemake.output.refined, refined, resolution, {"slide": slide_id, "grid": grid.to_dict()})
