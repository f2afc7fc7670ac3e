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
    priority: 5
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


rule choose_band:
    input:
        slides=lambda wildcards: [ALL_ROWS[s].path for s in band_slides(wildcards.run)],
        tissue=band_files("<results>/slides/{slide}/tissue.png"),
        tiles=band_files("<results>/slides/{slide}/tiles.parquet"),
        stains=lambda wildcards: expand(
            slide_stains(settings_of(config["runs"][wildcards.run]["classifier"])), slide=band_slides(wildcards.run)
        ),
        student=cascade_file("student"),
        teacher=cascade_file("teacher"),
        exact=run_classifier("model.onnx"),
    output:
        band="<results>/runs/{run}/band.json",
    log:
        "<logs>/choose_band/{run}.log",
    benchmark:
        "<benchmarks>/choose_band/{run}.tsv"
    wildcard_constraints:
        run=cascaded_names(),
    priority: 5
    conda:
        "../../envs/infer.yaml"
    params:
        provider=config["inference"]["provider"],
        cascade=lambda wildcards: cascade_of(wildcards.run),
        student=lambda wildcards: tile_settings(cascade_of(wildcards.run)["student"]),
        teacher=lambda wildcards: tile_settings(config["runs"][wildcards.run]["classifier"]),
        stains=lambda wildcards: settings_of(config["runs"][wildcards.run]["classifier"]).get("stain_normalisation"),
        slides=lambda wildcards: [
            {"slide_id": s, "mpp": ALL_ROWS[s].mpp, "annotation_kind": ALL_ROWS[s].annotation_kind}
            for s in band_slides(wildcards.run)
        ],
        threshold=config["measure"]["threshold"],
        seed=config["seed"],
        code=lambda wildcards: code("choose_band"),
    threads: resource("choose_band", "threads", 8)
    resources:
        mem_mb=resource("choose_band", "mem_mb", 3000),
        runtime=resource("choose_band", "runtime", 240),
        gpu=needs_gpu(),
    message:
        "Choosing where the student of run {wildcards.run} is unsure"
    script:
        "../../scripts/choose_band.py"


rule classify_cascade:
    input:
        slide=slide_file,
        tissue="<results>/slides/{slide}/tissue.png",
        tiles="<results>/slides/{slide}/tiles.parquet",
        stains=lambda wildcards: slide_stains(settings_of(config["runs"][wildcards.run]["classifier"])),
        band="<results>/runs/{run}/band.json",
        student=cascade_file("student"),
        teacher=cascade_file("teacher"),
        exact=run_classifier("model.onnx"),
    output:
        tiles="<results>/runs/{run}/{slide}/cascade.parquet",
        heatmap="<results>/runs/{run}/{slide}/cascade.tif",
    log:
        "<logs>/classify_cascade/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/classify_cascade/{run}/{slide}.tsv"
    wildcard_constraints:
        run=cascaded_names(),
    priority: 1
    group:
        "segment_slide"
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        provider=config["inference"]["provider"],
        cascade=lambda wildcards: cascade_of(wildcards.run),
        model=lambda wildcards: config["runs"][wildcards.run]["classifier"],
        student=lambda wildcards: tile_settings(cascade_of(wildcards.run)["student"]),
        teacher=lambda wildcards: tile_settings(config["runs"][wildcards.run]["classifier"]),
        stains=lambda wildcards: settings_of(config["runs"][wildcards.run]["classifier"]).get("stain_normalisation"),
        threshold=config["measure"]["threshold"],
        seed=config["seed"],
        code=lambda wildcards: code("classify_cascade"),
    threads: resource("classify_cascade", "threads", 8)
    resources:
        mem_mb=resource("classify_cascade", "mem_mb", 3000),
        runtime=resource("classify_cascade", "runtime", 120),
        gpu=needs_gpu(),
    message:
        "Classifying the tiles of {wildcards.slide} by the student and teacher of run {wildcards.run}"
    script:
        "../../scripts/classify_cascade.py"
