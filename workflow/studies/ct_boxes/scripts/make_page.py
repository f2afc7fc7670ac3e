"""Write the page of the study of tumour boxes."""

from pathlib import Path

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.report.figures import save
from studies.common.images.tables import read_arms
from studies.common.page import render_section
from studies.ct_boxes import tables
from studies.ct_boxes.figures import study_figures
from studies.ct_boxes.tables import page_view
from studies.ct_boxes.trials import read_slices

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    settings, folder = params.settings, Path(output.section).parent
    resampling = {"resamples": settings["bootstrap"], "seed": params.seed}
    slices = read_slices(inputs.slices)
    trained, files = params.trainings, (inputs.predictions, inputs.facts)
    networks = read_arms(settings["arms"], trained, *files, trained, inputs.histories)
    arms = tables.with_mean_box(networks, slices)
    what = tables.judged(settings["source"], settings["targets"])
    scores = tables.scores(arms, what, good=settings["good"], **resampling)
    leak = tables.leaks(arms, what, slices)
    write_tsv(tables.long_metrics(scores, leak, arms), output.metrics)
    for name, figure in study_figures(scores, leak, arms, what, settings).items():
        save(figure, folder / "figures" / f"{name}.png", dpi=200)
    published, matching = read_published(inputs.published), read_json(inputs.matching)
    view = page_view(scores, leak, arms, what, published, matching, slices, settings)
    render_section(folder, Path(inputs.template), view)
