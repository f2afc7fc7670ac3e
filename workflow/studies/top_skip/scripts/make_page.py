"""Compare two refiners, with and without the skip connection at full resolution, on the same slides."""

from pathlib import Path

from drunet.console import job
from drunet.export.mask_image import read_mask_image
from drunet.files import read_json, read_published, write_tsv
from drunet.heatmap import read_field
from drunet.outcome import without_failed
from drunet.report.figures import save
from studies.common.model_figures import paired_lines
from studies.common.page import by_name, render_section
from studies.common.statistics import long_scores
from studies.top_skip import tables as study

with job(snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    slides, per_arm = without_failed(params.slides, inputs.measured, inputs.refined, inputs.masks)
    measured, all_refined, masks = (by_name(files, (study.WITH, study.WITHOUT)) for files in per_arm)
    counted = {}
    for arm in measured:
        for row, refined, mask in zip(slides, all_refined[arm], masks[arm], strict=True):
            counted[arm, row["slide"], "refined"] = study.fragments(read_field(refined)[0] >= params.threshold)
            counted[arm, row["slide"], "segmentation"] = study.fragments(read_mask_image(mask))
    results = {arm: [read_json(path) for path in paths] for arm, paths in measured.items()}
    scores = study.score_table(results, counted, slides)
    changes = study.changes_table(scores)
    write_tsv(long_scores(scores, study.SCORES), output.metrics)
    write_tsv(changes, output.changes)
    panels = [
        ("after refinement", "Hausdorff distance (µm)", study.paired(scores, "refined", "hd_um")),
        ("final segmentation", "Hausdorff distance (µm)", study.paired(scores, "segmentation", "hd_um")),
        ("after refinement", "fragments", study.paired(scores, "refined", "fragments")),
    ]
    figure = paired_lines(panels, "slide", {})
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    save(figure, output.figure, dpi=200)
    facts = read_published(inputs.published).set_index("figure")["value"]
    patients = len({row["patient"] for row in slides})
    view = study.page_view(changes, facts[study.PUBLISHED], patients)
    render_section(Path(output.section).parent, Path(inputs.template), view)
