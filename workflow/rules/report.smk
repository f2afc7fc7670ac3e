USED_CLASSIFIERS = list(dict.fromkeys(run["classifier"] for run in RUNS.values()))
CASCADED = [run for run in RUNS if cascade_of(run)]
# Those that see every tile: a cascade's teacher does not, or it would spare nothing.
WHOLE_CLASSIFIERS = list(dict.fromkeys(parts["classifier"] for run, parts in RUNS.items() if run not in CASCADED))
USED_MODELS = list(dict.fromkeys(run[part] for run in RUNS.values() for part in ("classifier", "refiner") if run[part]))
USED_MODELS += [m for m in dict.fromkeys(cascade_of(run)["student"] for run in CASCADED) if m not in USED_MODELS]


rule report:
    input:
        slides="<results>/slides.tsv",
        outcomes=expand("<results>/runs/{run}/slides.tsv", run=RUNS),
        tumour=expand("<results>/runs/{run}/tumour.tsv", run=RUNS),
        metrics=expand("<results>/runs/{run}/metrics.tsv", run=RUNS),
        tile_metrics=expand("<results>/runs/{run}/tile_metrics.tsv", run=RUNS),
        measured=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/metrics.json", run=RUNS, slide=measured_slides()
        ),
        overlays=for_usable("<results>/runs/{run}/{slide}/overlay.jpg", run=RUNS),
        heatmaps=for_usable("<results>/runs/{run}/{slide}/heatmap.jpg", run=RUNS),
        exports=expand("<results>/models/{model}/export.json", model=USED_MODELS),
        histories=[f"<results>/models/{m}/history.tsv" for m in USED_MODELS if not is_finished(m)],
        calibrations=lambda wildcards: calibrations(USED_CLASSIFIERS),
        bounds=bounds(RUNS),
        appearances=lambda wildcards: [run_appearance(each) for each in known_runs()],
        published=sorted(str(p) for p in (Path(workflow.basedir) / "resources/published").glob("*.tsv")),
        sections=SECTIONS,
        formats=str(RESOURCES / "exports.tsv"),
        templates=[
            str(SCRIPTS / "drunet/report" / f) for f in ("template.html", "methods.html", "quality.html", "style.css")
        ],
    output:
        page=report("<results>/report/report.html", caption="../report/page.rst", category="Report"),
        # Empty, unless the page would grow too large: then links to the pictures of the runs.
        pictures=directory("<results>/report/pictures"),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        title=config["report"]["title"],
        formats=config["export"]["formats"],
        runs=RUNS,
        known=lambda wildcards: [each.run for each in known_runs()],
        measured=measured_rows,
        trained=[m for m in USED_MODELS if not is_finished(m)],
        settings={
            "tissue": {key: config["tissue"][key] for key in ("method", "mpp")},
            "tiles": {key: config["tiles"][key] for key in ("mpp", "size", "step", "min_tissue")},
            "postprocess": config["postprocess"],
            "measure": config["measure"],
            "models": {model: settings_of(model) for model in USED_MODELS},
        },
        benchmarks=f"{RESULTS}/benchmarks",
        threshold=config["measure"]["threshold"],
        resamples=config["measure"]["bootstrap"],
        seed=config["seed"],
        code=lambda wildcards: code("report"),
    resources:
        mem_mb=resource("report", "mem_mb", 2000),
        runtime=resource("report", "runtime", 20),
    message:
        "Writing the report"
    script:
        "../../scripts/report.py"
