"""One target per stage: `snakemake --cores N <target>` makes it for every usable slide."""

from functools import cache


@cache
def studies_with_ground():
    """Names of the studies that can be made; says which are left out, and why.

    One that would fit but for what `study_settings` say of it is a mistake, and ends in its message.
    """
    problems = {s.name: s.problem for s in STUDIES.values() if s.problem}
    changed = [name for name in problems if name in OWN.get("study_settings", {})]
    shipped = read_studies({**OWN, "study_settings": {}}) if changed else {}
    for name in changed:
        if study_settings.at_fault(STUDIES[name], shipped[name]):
            raise WorkflowError(problems[name])
    problems |= MISFITS
    for name, problem in problems.items():
        print(f"left out: {' and '.join(STUDIES[name].targets)}: {problem}", file=sys.stderr)
    return [name for name in STUDIES if name not in problems]


rule inspect:
    input:
        "<results>/slides.tsv",


rule tissue:
    input:
        for_usable("<results>/slides/{slide}/tissue.png"),


rule tiles:
    input:
        for_usable("<results>/slides/{slide}/tiles.parquet"),


rule models:
    input:
        expand("<results>/models/{model}/model.onnx", model=USED_MODELS),
        [f"<results>/models/{m}/card.md" for m in USED_MODELS if not is_finished(m)],


rule classify:
    input:
        for_usable("<results>/heatmaps/{model}/{slide}.parquet", model=USED_CLASSIFIERS),


rule heatmaps:
    input:
        for_usable("<results>/heatmaps/{model}/{slide}.tif", model=USED_CLASSIFIERS),


rule segment:
    input:
        for_usable("<results>/runs/{run}/{slide}/segmentation.geojson", run=RUNS),


rule metrics:
    input:
        expand("<results>/runs/{run}/metrics.tsv", run=RUNS),


rule studies:
    input:
        lambda wildcards: expand("<results>/studies/{study}/report.html", study=studies_with_ground()),
