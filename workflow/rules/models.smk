rule train_classifier:
    input:
        slides=learning_paths,
        tiles=learning_files("<results>/slides/{slide}/tiles.parquet"),
        annotations=learning_files("<results>/slides/{slide}/annotation.parquet"),
        weights=starting_weights,
        scores=learning_scores,
        stains=learning_stains,
        teacher=teacher_file,
    output:
        weights="<results>/models/{model}/weights.weights.h5",
        history="<results>/models/{model}/history.tsv",
        facts="<results>/models/{model}/training.json",
    log:
        "<logs>/train_classifier/{model}.log",
    benchmark:
        "<benchmarks>/train_classifier/{model}.tsv"
    wildcard_constraints:
        model=trained_names("classifiers"),
    priority: 5
    conda:
        "../../envs/train.yaml"
    params:
        settings=lambda wildcards: learnt_settings(wildcards.model),
        slides=learning_rows,
        training=training_count,
        rules={k: config["tiles"][k] for k in ("min_tissue", "min_tumour", "max_non_tumour", "min_annotated")},
        tile={k: config["tiles"][k] for k in ("mpp", "size", "step")},
        teacher=teacher_layout,
        seed=config["seed"],
        weights_digests=lambda wildcards: own_digests(starting_weights(wildcards)),
        code=lambda wildcards: code("train_classifier", architecture_module(wildcards.model)),
    threads: resource("train_classifier", "threads", 8)
    resources:
        mem_mb=resource("train_classifier", "mem_mb", 6000),
        runtime=resource("train_classifier", "runtime", 240),
        gpu=needs_gpu(),
    message:
        "Training the classifier {wildcards.model}"
    script:
        "../../scripts/train_classifier.py"


rule train_refiner:
    input:
        slides=learning_paths,
        tiles=learning_files("<results>/slides/{slide}/tiles.parquet"),
        annotations=learning_files("<results>/slides/{slide}/annotation.parquet"),
        heatmaps=learning_heatmaps,
        weights=starting_weights,
    output:
        weights="<results>/models/{model}/weights.weights.h5",
        history="<results>/models/{model}/history.tsv",
        facts="<results>/models/{model}/training.json",
    log:
        "<logs>/train_refiner/{model}.log",
    benchmark:
        "<benchmarks>/train_refiner/{model}.tsv"
    wildcard_constraints:
        model=trained_names("refiners"),
    priority: 5
    conda:
        "../../envs/train.yaml"
    params:
        settings=lambda wildcards: learnt_settings(wildcards.model),
        slides=learning_rows,
        training=training_count,
        seed=config["seed"],
        weights_digests=lambda wildcards: own_digests(starting_weights(wildcards)),
        code=lambda wildcards: code("train_refiner", architecture_module(wildcards.model)),
    threads: resource("train_refiner", "threads", 8)
    resources:
        mem_mb=resource("train_refiner", "mem_mb", 6000),
        runtime=resource("train_refiner", "runtime", 240),
        gpu=needs_gpu(),
    message:
        "Training the refiner {wildcards.model}"
    script:
        "../../scripts/train_refiner.py"


rule describe_model:
    input:
        weights="<results>/models/{model}/weights.weights.h5",
        history="<results>/models/{model}/history.tsv",
        facts="<results>/models/{model}/training.json",
    output:
        curves=report("<results>/models/{model}/training.png", caption="../report/training.rst", category="Models"),
        card="<results>/models/{model}/card.md",
    log:
        "<logs>/describe_model/{model}.log",
    benchmark:
        "<benchmarks>/describe_model/{model}.tsv"
    wildcard_constraints:
        model=f"{trained_names('classifiers', 'refiners')}|{head_names()}",
    conda:
        "../../envs/train.yaml"
    params:
        code=lambda wildcards: code("describe_model"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Writing the card of {wildcards.model}"
    script:
        "../../scripts/describe_model.py"


rule export_onnx:
    input:
        weights="<results>/models/{model}/weights.weights.h5",
        facts="<results>/models/{model}/training.json",
    output:
        model="<results>/models/{model}/model.onnx",
        report="<results>/models/{model}/export.json",
    log:
        "<logs>/export_onnx/{model}.log",
    benchmark:
        "<benchmarks>/export_onnx/{model}.tsv"
    wildcard_constraints:
        model=trained_names("classifiers", "refiners"),
    priority: 5
    conda:
        "../../envs/train.yaml"
    params:
        opset=config["export"]["opset"],
        code=lambda wildcards: code("export_onnx", architecture_module(wildcards.model)),
    resources:
        mem_mb=resource("export_onnx", "mem_mb", 6000),
        runtime=resource("export_onnx", "runtime", 30),
    message:
        "Exporting {wildcards.model} to ONNX"
    script:
        "../../scripts/export_onnx.py"


rule fetch_model:
    output:
        model="<results>/fetched/{digest}.onnx",
    log:
        "<logs>/fetch_model/{digest}.log",
    benchmark:
        "<benchmarks>/fetch_model/{digest}.tsv"
    wildcard_constraints:
        digest="[0-9a-f]{64}",
    priority: 5
    conda:
        "../../envs/data.yaml"
    params:
        address=lambda wildcards: next(m.address for m in LISTED.values() if m.sha256 == wildcards.digest),
        folder=config.get("model_folder"),
    resources:
        mem_mb=resource("fetch_model", "mem_mb", 500),
        runtime=resource("fetch_model", "runtime", 240),
    message:
        "Fetching the listed model {wildcards.digest}"
    script:
        "../../scripts/fetch_model.py"


rule adopt_onnx:
    input:
        model=lambda wildcards: settings_of(wildcards.model)["onnx"],
    output:
        model="<results>/models/{model}/model.onnx",
        report="<results>/models/{model}/export.json",
        card="<results>/models/{model}/card.md",
    log:
        "<logs>/adopt_onnx/{model}.log",
    benchmark:
        "<benchmarks>/adopt_onnx/{model}.tsv"
    wildcard_constraints:
        model=finished_names(),
    priority: 5
    conda:
        "../../envs/infer.yaml"
    params:
        role=lambda wildcards: "classifier" if wildcards.model in config["classifiers"] else "refiner",
        size=config["tiles"]["size"],
        # What others look like beside the slides that it learnt from changes nothing in the model.
        settings=lambda wildcards: {k: v for k, v in settings_of(wildcards.model).items() if k != "appearance"},
        digest=lambda wildcards: own_digests(settings_of(wildcards.model)["onnx"], digests.model_digest),
        code=lambda wildcards: code("adopt_onnx", "drunet.export.decide"),
    resources:
        mem_mb=resource("adopt_onnx", "mem_mb", 3000),
        runtime=resource("adopt_onnx", "runtime", 10),
    message:
        "Checking the finished model {wildcards.model}"
    script:
        "../../scripts/adopt_onnx.py"


rule draw_classified_tiles:
    input:
        slides=lambda wildcards: [ROWS[s].path for s in shown_slides()],
        tiles=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=shown_slides()),
        answers=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet", model=wildcards.model, slide=shown_slides()
        ),
    output:
        picture="<results>/models/{model}/tiles.png",
    log:
        "<logs>/draw_classified_tiles/{model}.log",
    benchmark:
        "<benchmarks>/draw_classified_tiles/{model}.tsv"
    wildcard_constraints:
        model=finished_names(),
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: [{"slide_id": s, "mpp": ROWS[s].mpp} for s in shown_slides()],
        code=lambda wildcards: code("draw_classified_tiles"),
    resources:
        mem_mb=resource("draw_classified_tiles", "mem_mb", 1000),
        runtime=resource("draw_classified_tiles", "runtime", 10),
    message:
        "Drawing tiles with their probabilities by {wildcards.model}"
    script:
        "../../scripts/draw_classified_tiles.py"
