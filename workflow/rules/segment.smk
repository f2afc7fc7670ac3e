rule refine_heatmap:
    input:
        slide=slide_file,
        heatmap=run_classifier_heatmap,
        model=run_refiner("model.onnx"),
        facts=run_refiner("export.json"),
    output:
        refined="<results>/runs/{run}/{slide}/refined.tif",
    log:
        "<logs>/refine_heatmap/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/refine_heatmap/{run}/{slide}.tsv"
    priority: 2
    group:
        "segment_slide"
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        engine=exact_engine(),
        code=lambda wildcards: code("refine_heatmap"),
    resources:
        mem_mb=resource("refine_heatmap", "mem_mb", 3000),
        runtime=resource("refine_heatmap", "runtime", 20),
        gpu=needs_gpu(),
    message:
        "Refining the heatmap of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/refine_heatmap.py"


rule cluster_heatmap:
    input:
        slide=slide_file,
        heatmap=run_classifier_heatmap,
    output:
        refined="<results>/runs/{run}/{slide}/refined.tif",
    log:
        "<logs>/cluster_heatmap/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/cluster_heatmap/{run}/{slide}.tsv"
    wildcard_constraints:
        run=clustered_runs(),
    priority: 2
    group:
        "segment_slide"
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        clustering=lambda wildcards: config["runs"][wildcards.run]["clustering"],
        threshold=config["postprocess"]["threshold"],
        seed=config["seed"],
        code=lambda wildcards: code("cluster_heatmap"),
    resources:
        mem_mb=resource("cluster_heatmap", "mem_mb", 3000),
        runtime=resource("cluster_heatmap", "runtime", 20),
    message:
        "Clustering the heatmap of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/cluster_heatmap.py"


ruleorder: cluster_heatmap > refine_heatmap


rule postprocess:
    input:
        tissue="<results>/slides/{slide}/tissue.png",
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        refiner=run_smallest_tumour,
    output:
        mask="<results>/runs/{run}/{slide}/segmentation.tif",
        small="<results>/runs/{run}/{slide}/segmentation.png",
    log:
        "<logs>/postprocess/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/postprocess/{run}/{slide}.tsv"
    priority: 3
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        postprocess=config["postprocess"],
        code=lambda wildcards: code("postprocess"),
    resources:
        mem_mb=resource("postprocess", "mem_mb", 3000),
        runtime=resource("postprocess", "runtime", 20),
    message:
        "Finding the tumour of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/postprocess.py"


rule list_outcomes:
    input:
        slides="<results>/slides.tsv",
        masks=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/segmentation.tif", run=wildcards.run, slide=usable_slides()
        ),
        small=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/segmentation.png", run=wildcards.run, slide=usable_slides()
        ),
        tissue=for_usable("<results>/slides/{slide}/tissue.png"),
        cascades=lambda wildcards: (
            for_each_slide(run_classifier_heatmap)(wildcards) if cascade_of(wildcards.run) else []
        ),
        classified=for_each_slide(run_classified),
        appearance=run_appearance,
    output:
        table="<results>/runs/{run}/slides.tsv",
        tumour=report("<results>/runs/{run}/tumour.tsv", caption="../report/tumour.rst", category="Tumour"),
        patients=report(
            "<results>/runs/{run}/tumour_per_patient.tsv", caption="../report/tumour.rst", category="Tumour"
        ),
    log:
        "<logs>/list_outcomes/{run}.log",
    benchmark:
        "<benchmarks>/list_outcomes/{run}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: usable_slides(),
        patients=patient_numbers(),
        on_bad_slide=config["cohort"]["on_bad_slide"],
        bounded=any(map(most_wrong, BOUNDS)),
        code=lambda wildcards: code("list_outcomes"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Listing what became of every slide in run {wildcards.run}"
    script:
        "../../scripts/list_outcomes.py"
