"""Put the study of tumour boxes together: IoU beside the thesis' figures, what was learnt twice, figures, page."""

from pathlib import Path

from drunet.console import job
from drunet.files import read_json, read_published, write_tsv
from drunet.report.figures import save
from drunet.report.section import write_section
from studies.ct_boxes import scores as study
from studies.ct_boxes.section import section_of
from studies.ct_boxes.slice_list import read_slices
from studies.ct_boxes.tasks import shown_protocol

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    settings, folder = params.settings, Path(output.section).parent
    resampling = {"resamples": settings["bootstrap"], "seed": params.seed}
    slices = read_slices(inputs.slices)
    networks = study.read_arms(settings["arms"], params.trainings, inputs.predictions, inputs.histories, inputs.facts)
    arms = study.with_mean_box(networks, slices)
    what = study.judged(settings["source"], settings["targets"])
    scores = study.scores(arms, what, good=settings["good"], **resampling)
    leak = study.leaks(arms, what, slices)
    gains = study.gains(arms, what, shown_protocol(settings), **resampling)
    write_tsv(study.long_metrics(scores, leak, arms), output.metrics)
    for name, figure in study.figures(scores, leak, arms, what, settings).items():
        save(figure, folder / "figures" / f"{name}.png", dpi=200)
    section = section_of(
        scores,
        leak,
        arms,
        what,
        gains,
        read_published(inputs.published),
        read_json(inputs.matching),
        slices,
        settings,
        folder / "figures",
    )
    write_section(folder, section)
