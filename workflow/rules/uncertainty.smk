# Where a classifier is unsure: how far its answers to turned and mirrored tiles, and those of its folds, lie apart.


rule uncertainty:
    input:
        for_usable(
            "<results>/uncertainty/{model}/{slide}.tif", model=[m for m in USED_CLASSIFIERS if not encoder_of(m)]
        ),


rule next_regions:
    input:
        expand("<results>/next_regions/{model}/regions.tsv", model=[m for m in USED_CLASSIFIERS if not encoder_of(m)]),


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


rule describe_tiles:
    input:
        slide=slide_file,
        tiles="<results>/slides/{slide}/tiles.parquet",
    output:
        colours="<results>/slides/{slide}/colours.parquet",
    log:
        "<logs>/describe_tiles/{slide}.log",
    benchmark:
        "<benchmarks>/describe_tiles/{slide}.tsv"
    group:
        "map_uncertainty"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        code=lambda wildcards: code("describe_tiles"),
    resources:
        mem_mb=resource("describe_tiles", "mem_mb", 2000),
        runtime=resource("describe_tiles", "runtime", 20),
    message:
        "Describing the colours of {wildcards.slide}"
    script:
        "../../scripts/describe_tiles.py"


rule choose_regions:
    input:
        status=for_usable("<results>/slides/{slide}/status.json"),
        tiles=for_usable("<results>/slides/{slide}/tiles.parquet"),
        colours=for_usable("<results>/slides/{slide}/colours.parquet"),
        answers=lambda wildcards: expand(
            "<results>/uncertainty/{model}/{slide}.parquet", model=wildcards.model, slide=open_slides()
        ),
    output:
        table="<results>/next_regions/{model}/regions.tsv",
        outlines=directory("<results>/next_regions/{model}/outlines"),
    log:
        "<logs>/choose_regions/{model}.log",
    benchmark:
        "<benchmarks>/choose_regions/{model}.tsv"
    wildcard_constraints:
        model=pattern([m for m in config["classifiers"] if not encoder_of(m)]),
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: usable_slides(),
        open=lambda wildcards: open_slides(),
        settings=NextRegionsSettings.of(config.get("next_regions", {}), "next_regions").model_dump(),
        code=lambda wildcards: code("choose_regions"),
    resources:
        mem_mb=resource("choose_regions", "mem_mb", 2000),
        runtime=resource("choose_regions", "runtime", 20),
    message:
        "Choosing regions to annotate next, for {wildcards.model}"
    script:
        "../../scripts/choose_regions.py"
