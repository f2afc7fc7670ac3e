"""Bounds on missed and on false tumour: thresholds that test patients justify, and the outlines that they draw."""


rule choose_bound:
    input:
        heatmaps=lambda wildcards: [run_classifier_heatmap(each) for each in bounding_slides(wildcards)],
        refined=lambda wildcards: [path for each in bounding_slides(wildcards) if (path := run_refined(each))],
        annotations=lambda wildcards: [
            f"{RESULTS}/slides/{each.slide}/annotation.parquet" for each in bounding_slides(wildcards)
        ],
        tissue=lambda wildcards: [f"{RESULTS}/slides/{each.slide}/tissue.png" for each in bounding_slides(wildcards)],
    output:
        facts="<results>/runs/{run}/{bound}.json",
    log:
        "<logs>/choose_bound/{run}/{bound}.log",
    benchmark:
        "<benchmarks>/choose_bound/{run}/{bound}.tsv"
    wildcard_constraints:
        bound="|".join(BOUNDS),
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: [
            {"slide": each.slide, "patient": patient_numbers()[each.slide]} for each in bounding_slides(wildcards)
        ],
        alpha=lambda wildcards: most_wrong(wildcards.bound),
        mpp=config["measure"]["mpp"],
        threshold=config["postprocess"]["threshold"],
        unrefined_px=config["postprocess"]["unrefined_px"],
        code=lambda wildcards: code("choose_bound"),
    resources:
        mem_mb=resource("choose_bound", "mem_mb", 3000),
        runtime=resource("choose_bound", "runtime", 30),
    message:
        "Bounding what run {wildcards.run} gets wrong: {wildcards.bound}"
    script:
        "../../scripts/choose_bound.py"


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
        outline="<results>/runs/{run}/{slide}/{bound}.geojson",
    log:
        "<logs>/export_bound/{run}/{slide}/{bound}.log",
    benchmark:
        "<benchmarks>/export_bound/{run}/{slide}/{bound}.tsv"
    wildcard_constraints:
        bound="|".join(BOUNDS),
    priority: 4
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
        "Writing the outlines of {wildcards.slide} in run {wildcards.run}: {wildcards.bound}"
    script:
        "../../scripts/export_bound.py"
