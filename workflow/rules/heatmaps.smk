rule classify_tiles:
    input:
        slide=slide_file,
        tiles="<results>/slides/{slide}/tiles.parquet",
        model="<results>/models/{model}/model.onnx",
    output:
        tiles="<results>/heatmaps/{model}/{slide}.parquet",
    log:
        "<logs>/classify_tiles/{model}/{slide}.log",
    benchmark:
        "<benchmarks>/classify_tiles/{model}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        engine={k: config["inference"][k] for k in ("provider", "precision")},
        settings=lambda wildcards: {
            k: v for k, v in settings_of(wildcards.model).items() if k in ("channels_last", "scale", "tumour_index")
        },
        code=lambda wildcards: code("classify_tiles"),
    threads: resource("classify_tiles", "threads", 8)
    resources:
        mem_mb=resource("classify_tiles", "mem_mb", 2000),
        runtime=resource("classify_tiles", "runtime", 120),
        gpu=needs_gpu(),
    message:
        "Classifying the tiles of {wildcards.slide} with {wildcards.model}"
    script:
        "../../scripts/classify_tiles.py"


rule stitch_heatmap:
    input:
        tiles="<results>/heatmaps/{model}/{slide}.parquet",
    output:
        heatmap="<results>/heatmaps/{model}/{slide}.tif",
    log:
        "<logs>/stitch_heatmap/{model}/{slide}.log",
    benchmark:
        "<benchmarks>/stitch_heatmap/{model}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        code=lambda wildcards: code("stitch_heatmap"),
    resources:
        mem_mb=resource("stitch_heatmap", "mem_mb", 1000),
        runtime=resource("stitch_heatmap", "runtime", 10),
    message:
        "Stitching the heatmap of {wildcards.slide}"
    script:
        "../../scripts/stitch_heatmap.py"
