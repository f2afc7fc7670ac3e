"""Runs I to X of the paper on the same slides: `snakemake --cores N experiments`."""

EXPERIMENTS = study("experiments")
# An experiment may be a run of the configuration itself; runs that two experiments share are read once.
EXPERIMENT_RUNS = list(dict.fromkeys(EXPERIMENTS["labels"].values()))


rule experiments:
    input:
        "<results>/studies/experiments/section.json",


rule compare_runs:
    input:
        measured=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/metrics.json", run=EXPERIMENT_RUNS, slide=slides_in(EXPERIMENTS["split"])
        ),
        masks=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/segmentation.tif", run=EXPERIMENT_RUNS, slide=slides_in(EXPERIMENTS["split"])
        ),
        tissues=lambda wildcards: expand("<results>/slides/{slide}/tissue.png", slide=slides_in(EXPERIMENTS["split"])),
        slides=lambda wildcards: [ROWS[s].path for s in slides_in(EXPERIMENTS["split"])],
        annotations=lambda wildcards: expand(
            "<results>/slides/{slide}/annotation.parquet", slide=slides_in(EXPERIMENTS["split"])
        ),
        published=str(RESOURCES / "published/drunet_experiments.tsv"),
        template=str(STUDIES_FOLDER / "experiments/page.md.j2"),
    output:
        metrics="<results>/studies/experiments/metrics.tsv",
        runs="<results>/studies/experiments/runs.tsv",
        tests="<results>/studies/experiments/tests.tsv",
        seconds="<results>/studies/experiments/seconds.tsv",
        with_refiner="<results>/studies/experiments/figures/with_refiner.png",
        without_refiner="<results>/studies/experiments/figures/without_refiner.png",
        pictures="<results>/studies/experiments/figures/pictures.jpg",
        section="<results>/studies/experiments/section.json",
        page=report("<results>/studies/experiments/report.html", category="Studies"),
    log:
        "<logs>/compare_runs.log",
    benchmark:
        "<benchmarks>/compare_runs.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        labels=EXPERIMENTS["labels"],
        settings={k: EXPERIMENTS[k] for k in ("bootstrap", "band_um", "pictures")},
        order=EXPERIMENT_RUNS,
        runs={run: config["runs"][run] for run in EXPERIMENT_RUNS if run in config["runs"]},
        models={**config["classifiers"], **config["refiners"]},
        slides=lambda wildcards: [s for s in measured_rows(wildcards) if s["split"] == EXPERIMENTS["split"]],
        mpp=lambda wildcards: [ROWS[s].mpp for s in slides_in(EXPERIMENTS["split"])],
        validated_on_wta=lambda wildcards: [
            m
            for m in dict.fromkeys(config["runs"][run]["classifier"] for run in EXPERIMENT_RUNS)
            if validated_on_other_kinds(m)
        ],
        fragment_um2=config["postprocess"]["min_fragment_um2"],
        counting={"mpp": config["measure"]["mpp"], "band_um": EXPERIMENTS["band_um"]},
        picture_px=700,
        benchmarks=f"{RESULTS}/benchmarks",
        seed=config["seed"],
        code=lambda wildcards: study_code("experiments", "make_page"),
    resources:
        mem_mb=resource("compare_runs", "mem_mb", 4000),
        runtime=resource("compare_runs", "runtime", 60),
    message:
        "Setting the runs beside each other"
    script:
        "scripts/make_page.py"
