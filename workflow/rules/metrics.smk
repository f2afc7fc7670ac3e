rule measure:
    input:
        annotation="<results>/slides/{slide}/annotation.parquet",
        tiles="<results>/slides/{slide}/tiles.parquet",
        classified=lambda wildcards: run_classifier_heatmap(wildcards).removesuffix(".tif") + ".parquet",
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        mask="<results>/runs/{run}/{slide}/segmentation.tif",
    output:
        metrics="<results>/runs/{run}/{slide}/metrics.json",
    log:
        "<logs>/measure/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/measure/{run}/{slide}.tsv"
    wildcard_constraints:
        slide="|".join(map(re.escape, ANNOTATED)) or "(?!)",
    priority: 4
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        measure={k: config["measure"][k] for k in ("mpp", "threshold")},
        code=lambda wildcards: code("measure"),
    resources:
        mem_mb=resource("measure", "mem_mb", 3000),
        runtime=resource("measure", "runtime", 20),
    message:
        "Measuring {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/measure.py"


rule gather_metrics:
    input:
        lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/metrics.json", run=wildcards.run, slide=measured_slides()
        ),
    output:
        metrics="<results>/runs/{run}/metrics.tsv",
        tile_metrics="<results>/runs/{run}/tile_metrics.tsv",
        summary=report("<results>/runs/{run}/summary.tsv", caption="../report/summary.rst", category="Metrics"),
    log:
        "<logs>/gather_metrics/{run}.log",
    benchmark:
        "<benchmarks>/gather_metrics/{run}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        slides=measured_rows,
        resamples=config["measure"]["bootstrap"],
        seed=config["seed"],
        code=lambda wildcards: code("gather_metrics"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Gathering the metrics of run {wildcards.run}"
    script:
        "../../scripts/gather_metrics.py"
