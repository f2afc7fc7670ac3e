"""Compare the runs of Table 2 of Oskouei et al. 2025: scores, tests, seconds, pictures."""

from pathlib import Path

from drunet.console import job, progress
from drunet.files import read_json, read_published, write_tsv
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.common.page import by_name, render_section
from studies.common.statistics import long_scores
from studies.experiments import tables as study
from studies.experiments.pictures import seen_by_runs

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    labels, runs, settings = params.labels, params.runs, params.settings
    per_slide = inputs.measured, inputs.masks, inputs.slides, inputs.annotations, inputs.tissues
    rows = list(zip(params.slides, params.mpp, strict=True))
    kept, (measures, outlined, paths, annotations, tissues) = without_failed(rows, *per_slide)
    slides, mpp = [row for row, _ in kept], [mpp for _, mpp in kept]
    measured = {run: [read_json(path) for path in files] for run, files in by_name(measures, params.order).items()}
    masks = by_name(outlined, params.order)
    scores = study.score_table(labels, measured, slides)

    margins, pictures = {}, {}
    with progress(len(slides), "looking at the slides", "slides") as bar:
        for i, row in enumerate(slides):
            shares, seen = seen_by_runs(
                row,
                paths[i],
                annotations[i],
                tissues[i],
                {run: files[i] for run, files in masks.items()},
                slide_mpp=mpp[i],
                longest=params.picture_px if i < settings["pictures"] else None,
                **params.counting,
            )
            margins |= {(run, row["slide"]): share for run, share in shares.items()}
            pictures |= {(run, row["slide"]): picture for run, picture in seen.items()}
            bar.update()
    scores = study.with_margins(scores, margins)

    table = study.runs_table(scores, labels, runs, params.models, resamples=settings["bootstrap"], seed=params.seed)
    tests = study.tests_table(scores, labels, runs)
    seconds = study.seconds_table(Path(params.benchmarks), labels, runs, [row["slide"] for row in slides])
    write_tsv(long_scores(scores.rename(columns={"experiment": "arm"}), study.SCORES), output.metrics)
    write_tsv(table, output.runs)
    write_tsv(tests, output.tests)
    write_tsv(seconds, output.seconds)

    published = read_published(inputs.published)
    for name, figure in study.draw_figures(scores, pictures, labels, runs, published).items():
        save(figure, output[name], dpi=200)
    view = study.page_view(table, tests, seconds, published, band_um=settings["band_um"])
    view |= {"fragment_um2": params.fragment_um2, "validated_on_wta": params.validated_on_wta}
    render_section(Path(output.section).parent, Path(inputs.template), view)
