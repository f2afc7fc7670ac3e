rule extract_tiles:
    input:
        slide=slide_file,
        tissue="<results>/slides/{slide}/tissue.png",
        annotation="<results>/slides/{slide}/annotation.parquet",
    output:
        **({"images": directory("<results>/slides/{slide}/tiles")} if config["tiles"]["save_images"] else {}),
        tiles="<results>/slides/{slide}/tiles.parquet",
    log:
        "<logs>/extract_tiles/{slide}.log",
    benchmark:
        "<benchmarks>/extract_tiles/{slide}.tsv"
    group:
        "prepare_slide"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        tiles={k: config["tiles"][k] for k in ("mpp", "size", "step")},
        rules={k: config["tiles"][k] for k in ("min_tissue", "min_tumour", "max_non_tumour", "min_annotated")},
        code=lambda wildcards: code("extract_tiles"),
    resources:
        mem_mb=resource("extract_tiles", "mem_mb", 3000),
        runtime=resource("extract_tiles", "runtime", 30),
    message:
        "Listing the tiles of {wildcards.slide}"
    script:
        "../../scripts/extract_tiles.py"


rule estimate_stains:
    input:
        slide=slide_file,
        tissue="<results>/slides/{slide}/tissue.png",
        tiles="<results>/slides/{slide}/tiles.parquet",
    output:
        stains="<results>/slides/{slide}/stains.json",
    log:
        "<logs>/estimate_stains/{slide}.log",
    benchmark:
        "<benchmarks>/estimate_stains/{slide}.tsv"
    group:
        "prepare_slide"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        seed=config["seed"],
        code=lambda wildcards: code("estimate_stains"),
    resources:
        mem_mb=resource("estimate_stains", "mem_mb", 2000),
        runtime=resource("estimate_stains", "runtime", 20),
    message:
        "Estimating the stains of {wildcards.slide}"
    script:
        "../../scripts/estimate_stains.py"
