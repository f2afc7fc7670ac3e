rule classify_tiles:
    input:
        slide=slide_file,
        tissue="<results>/slides/{slide}/tissue.png",
        tiles="<results>/slides/{slide}/tiles.parquet",
        stains=lambda wildcards: slide_stains(settings_of(wildcards.model)),
        model=lambda wildcards: classifier_file(wildcards.model, config["inference"]["precision"]),
    output:
        tiles="<results>/heatmaps/{model}/{slide}.parquet",
        heatmap="<results>/heatmaps/{model}/{slide}.tif",
    log:
        "<logs>/classify_tiles/{model}/{slide}.log",
    benchmark:
        "<benchmarks>/classify_tiles/{model}/{slide}.tsv"
    # Higher from step to step: a slide that was begun is finished before others are begun, so that a mistake in a late
    # step shows early. Highest where a model is made, for which much else waits.
    priority: 1
    group:
        segmenting_group
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        engine={k: config["inference"][k] for k in ("provider", "precision")},
        settings=lambda wildcards: tile_settings(wildcards.model),
        stains=lambda wildcards: settings_of(wildcards.model).get("stain_normalisation"),
        set_aside=config["inference"].get("set_aside", []),
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
