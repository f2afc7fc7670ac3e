# Where a classifier is unsure: how far its answers to turned and mirrored tiles, and those of its folds, lie apart.


rule uncertainty:
    input:
        for_usable(
            "<results>/uncertainty/{model}/{slide}.tif", model=[m for m in USED_CLASSIFIERS if not encoder_of(m)]
        ),


rule map_uncertainty:
    input:
        slide=slide_file,
        tissue="<results>/slides/{slide}/tissue.png",
        tiles="<results>/slides/{slide}/tiles.parquet",
        stains=lambda wildcards: slide_stains(settings_of(wildcards.model)),
        models=lambda wildcards: expand("<results>/models/{model}/model.onnx", model=ensemble_of(wildcards.model)),
    output:
        tiles="<results>/uncertainty/{model}/{slide}.parquet",
        map="<results>/uncertainty/{model}/{slide}.tif",
    log:
        "<logs>/map_uncertainty/{model}/{slide}.log",
    benchmark:
        "<benchmarks>/map_uncertainty/{model}/{slide}.tsv"
    wildcard_constraints:
        model=pattern([m for m in config["classifiers"] if not encoder_of(m)]),
    group:
        "map_uncertainty"
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        views=config["inference"].get("views", 4),
        models=lambda wildcards: ensemble_of(wildcards.model),
        engine=exact_engine(),
        settings=lambda wildcards: tile_settings(wildcards.model),
        stains=lambda wildcards: settings_of(wildcards.model).get("stain_normalisation"),
        code=lambda wildcards: code("map_uncertainty"),
    threads: resource("map_uncertainty", "threads", 8)
    resources:
        mem_mb=resource("map_uncertainty", "mem_mb", 3000),
        runtime=resource("map_uncertainty", "runtime", 240),
        gpu=needs_gpu(),
    message:
        "Mapping where {wildcards.model} is unsure of {wildcards.slide}"
    script:
        "../../scripts/map_uncertainty.py"
