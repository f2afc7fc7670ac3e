"""Refine a slide's heatmap with the low-resolution network."""

from drunet.console import job
from drunet.files import read_json
from drunet.heatmap import read_heatmap, write_field
from drunet.inference import EngineOptions, open_session
from drunet.outcome import late_failure
from drunet.refine import refine_slide
from drunet.slide import Slide

slide_id, on_bad_slide = snakemake.wildcards.slide, snakemake.config["cohort"]["on_bad_slide"]
with (
    job(snakemake.log[0], gpus=snakemake.resources.gpu),
    late_failure(snakemake.output, slide_id, snakemake.rule, on_bad_slide),
):
    run = snakemake.wildcards.run
    heatmap, grid = read_heatmap(snakemake.input.heatmap)
    options = EngineOptions(**snakemake.params.engine, threads=snakemake.threads)
    session = open_session(snakemake.input.model, options, where=run)
    window_mpp = read_json(snakemake.input.facts)["mpp"]
    with Slide(snakemake.input.slide, slide_id, snakemake.params.mpp) as slide:
        refined = refine_slide(session, slide, heatmap, grid, mpp=window_mpp, where=run)
    height, width = refined.shape
    resolution = (grid.width * grid.mpp / width, grid.height * grid.mpp / height)
    write_field(snakemake.output.refined, refined, resolution, {"slide": slide_id, "grid": grid.to_dict()})
