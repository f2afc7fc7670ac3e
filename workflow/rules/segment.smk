rule refine_heatmap:
    input:
        slide=slide_file,
        heatmap=run_classifier_heatmap,
        model=run_refiner("model.onnx"),
    output:
        refined="<results>/runs/{run}/{slide}/refined.tif",
    log:
        "<logs>/refine_heatmap/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/refine_heatmap/{run}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        engine={k: config["inference"][k] for k in ("provider", "precision")},
        code=lambda wildcards: code("refine_heatmap"),
    resources:
        mem_mb=resource("refine_heatmap", "mem_mb", 3000),
        runtime=resource("refine_heatmap", "runtime", 20),
        gpu=needs_gpu(),
    message:
        "Refining the heatmap of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/refine_heatmap.py"


rule postprocess:
    input:
        slide=slide_file,
        annotation=annotation_file,
        tissue="<results>/slides/{slide}/tissue.png",
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        refiner=run_refiner("export.json"),
    output:
        mask="<results>/runs/{run}/{slide}/segmentation.tif",
        outline="<results>/runs/{run}/{slide}/segmentation.geojson",
        overlay=report(
            "<results>/runs/{run}/{slide}/overlay.jpg",
            caption="../report/overlay.rst",
            category="Slides",
            labels={"slide": "{slide}", "run": "{run}", "picture": "segmentation"},
        ),
        heatmap=report(
            "<results>/runs/{run}/{slide}/heatmap.jpg",
            caption="../report/heatmap.rst",
            category="Slides",
            labels={"slide": "{slide}", "run": "{run}", "picture": "heatmap"},
        ),
    log:
        "<logs>/postprocess/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/postprocess/{run}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        kind=annotation_kind,
        classes=config["cohort"]["annotation_classes"],
        geojson_frame=config["cohort"]["geojson_frame"],
        postprocess=config["postprocess"],
        overlay_px=config["report"]["overlay_px"],
        code=lambda wildcards: code("postprocess"),
    resources:
        mem_mb=resource("postprocess", "mem_mb", 3000),
        runtime=resource("postprocess", "runtime", 20),
    message:
        "Outlining the tumour of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/postprocess.py"
