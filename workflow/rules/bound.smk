"""A bound on missed tumour: a lower threshold that test patients justify, and the wider outlines that it draws."""


rule bound_missed:
    input:
        heatmaps=lambda wildcards: [run_classifier_heatmap(each) for each in bounding_slides(wildcards)],
        refined=lambda wildcards: [path for each in bounding_slides(wildcards) if (path := run_refined(each))],
        annotations=lambda wildcards: [
            f"{RESULTS}/slides/{each.slide}/annotation.parquet" for each in bounding_slides(wildcards)
        ],
    output:
        facts="<results>/runs/{run}/bound.json",
    log:
        "<logs>/bound_missed/{run}.log",
    benchmark:
        "<benchmarks>/bound_missed/{run}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: [
            {"slide": each.slide, "patient": patient_numbers()[each.slide]} for each in bounding_slides(wildcards)
        ],
        alpha=config["measure"].get("missed_at_most"),
        mpp=config["measure"]["mpp"],
        threshold=config["postprocess"]["threshold"],
        unrefined_px=config["postprocess"]["unrefined_px"],
        code=lambda wildcards: code("bound_missed"),
    resources:
        mem_mb=resource("bound_missed", "mem_mb", 3000),
        runtime=resource("bound_missed", "runtime", 30),
    message:
        "Bounding the tumour that run {wildcards.run} misses"
    script:
        "../../scripts/bound_missed.py"


rule export_bound:
    input:
        status="<results>/slides/{slide}/status.json",
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        mask="<results>/runs/{run}/{slide}/segmentation.png",
        classified=run_classified,
        appearance=run_appearance,
        bound=asked_bound,
    output:
        outline="<results>/runs/{run}/{slide}/bound.geojson",
    log:
        "<logs>/export_bound/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_bound/{run}/{slide}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=config["measure"]["mpp"],
        unrefined_px=config["postprocess"]["unrefined_px"],
        code=lambda wildcards: code("export_bound"),
    resources:
        mem_mb=resource("export_bound", "mem_mb", 2000),
        runtime=resource("export_bound", "runtime", 10),
    message:
        "Writing the wider outlines of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/export_bound.py"
