rule quantise_classifier:
    input:
        slides=lambda wildcards: [ALL_ROWS[s].path for s in quantising_slides(wildcards.model)],
        tissue=quantising_files("<results>/slides/{slide}/tissue.png"),
        tiles=quantising_files("<results>/slides/{slide}/tiles.parquet"),
        stains=lambda wildcards: expand(
            slide_stains(settings_of(wildcards.model)), slide=quantising_slides(wildcards.model)
        ),
        model="<results>/models/{model}/model.onnx",
    output:
        model="<results>/models/{model}/int8.onnx",
        report="<results>/models/{model}/int8.json",
    log:
        "<logs>/quantise_classifier/{model}.log",
    benchmark:
        "<benchmarks>/quantise_classifier/{model}.tsv"
    conda:
        "../../envs/infer.yaml"
    params:
        provider=config["inference"]["provider"],
        int8=config["inference"].get("int8", {}),
        settings=lambda wildcards: tile_settings(wildcards.model),
        stains=lambda wildcards: settings_of(wildcards.model).get("stain_normalisation"),
        slides=lambda wildcards: [{"slide_id": s, "mpp": ALL_ROWS[s].mpp} for s in quantising_slides(wildcards.model)],
        learnt=lambda wildcards: bool(training_slides(wildcards.model)),
        threshold=config["measure"]["threshold"],
        seed=config["seed"],
        code=lambda wildcards: code("quantise_classifier"),
    threads: resource("quantise_classifier", "threads", 8)
    resources:
        mem_mb=resource("quantise_classifier", "mem_mb", 8000),
        runtime=resource("quantise_classifier", "runtime", 120),
    message:
        "Bringing the classifier {wildcards.model} to int8"
    script:
        "../../scripts/quantise_classifier.py"
