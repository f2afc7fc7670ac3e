rule adopt_encoder:
    input:
        model=lambda wildcards: config["encoders"][wildcards.encoder]["onnx"],
    output:
        model="<results>/encoders/{encoder}/encoder.onnx",
        report="<results>/encoders/{encoder}/encoder.json",
    log:
        "<logs>/adopt_encoder/{encoder}.log",
    benchmark:
        "<benchmarks>/adopt_encoder/{encoder}.tsv"
    priority: 5
    conda:
        "../../envs/infer.yaml"
    params:
        size=config["tiles"]["size"],
        settings=adopted_settings,
        digest=lambda wildcards: own_digests(config["encoders"][wildcards.encoder]["onnx"], digests.model_digest),
        code=lambda wildcards: code("adopt_encoder", "drunet.export.decide"),
    resources:
        mem_mb=resource("adopt_encoder", "mem_mb", 12000),
        runtime=resource("adopt_encoder", "runtime", 20),
    message:
        "Checking the encoder {wildcards.encoder}"
    script:
        "../../scripts/adopt_encoder.py"


rule encode_tiles:
    input:
        slide=slide_file,
        tissue="<results>/slides/{slide}/tissue.png",
        tiles="<results>/slides/{slide}/tiles.parquet",
        stains=lambda wildcards: slide_stains(config["encoders"][wildcards.encoder]),
        encoder="<results>/encoders/{encoder}/encoder.onnx",
    output:
        features="<results>/features/{encoder}/{slide}.npy",
    log:
        "<logs>/encode_tiles/{encoder}/{slide}.log",
    benchmark:
        "<benchmarks>/encode_tiles/{encoder}/{slide}.tsv"
    conda:
        "../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        engine=exact_engine(),
        kept=lambda wildcards: kept_type(wildcards.encoder),
        stains=lambda wildcards: config["encoders"][wildcards.encoder].get("stain_normalisation"),
        code=lambda wildcards: code("encode_tiles"),
    threads: resource("encode_tiles", "threads", 8)
    resources:
        mem_mb=resource("encode_tiles", "mem_mb", 8000),
        runtime=resource("encode_tiles", "runtime", 480),
        gpu=needs_gpu(),
    message:
        "Computing the features of {wildcards.slide} with {wildcards.encoder}"
    script:
        "../../scripts/encode_tiles.py"


rule train_head:
    input:
        slides=learning_paths,
        tiles=learning_files("<results>/slides/{slide}/tiles.parquet"),
        annotations=learning_files("<results>/slides/{slide}/annotation.parquet"),
        features=learning_features,
        encoder=encoder_file("encoder.json"),
    output:
        weights="<results>/models/{model}/weights.weights.h5",
        history="<results>/models/{model}/history.tsv",
        facts="<results>/models/{model}/training.json",
        head="<results>/models/{model}/head.onnx",
    log:
        "<logs>/train_head/{model}.log",
    benchmark:
        "<benchmarks>/train_head/{model}.tsv"
    wildcard_constraints:
        model=head_names(),
    priority: 5
    conda:
        "../../envs/train.yaml"
    params:
        settings=lambda wildcards: learnt_settings(wildcards.model),
        slides=learning_rows,
        training=training_count,
        seed=config["seed"],
        code=lambda wildcards: code("train_head", architecture_module(wildcards.model)),
    threads: resource("train_head", "threads", 4)
    resources:
        mem_mb=resource("train_head", "mem_mb", 4000),
        runtime=resource("train_head", "runtime", 60),
    message:
        "Training the head of the classifier {wildcards.model}"
    script:
        "../../scripts/train_head.py"


rule join_encoder:
    input:
        encoder=encoder_file("encoder.onnx"),
        head="<results>/models/{model}/head.onnx",
        facts="<results>/models/{model}/training.json",
    output:
        model="<results>/models/{model}/model.onnx",
        report="<results>/models/{model}/export.json",
    log:
        "<logs>/join_encoder/{model}.log",
    benchmark:
        "<benchmarks>/join_encoder/{model}.tsv"
    wildcard_constraints:
        model=head_names(),
    priority: 5
    conda:
        "../../envs/infer.yaml"
    params:
        kept=lambda wildcards: kept_type(encoder_of(wildcards.model)),
        code=lambda wildcards: code("join_encoder"),
    resources:
        mem_mb=resource("join_encoder", "mem_mb", 12000),
        runtime=resource("join_encoder", "runtime", 20),
    message:
        "Joining the encoder and the head of {wildcards.model}"
    script:
        "../../scripts/join_encoder.py"


rule classify_features:
    input:
        tiles="<results>/slides/{slide}/tiles.parquet",
        features=features_file,
        head="<results>/models/{model}/head.onnx",
    output:
        tiles="<results>/heatmaps/{model}/{slide}.parquet",
        heatmap="<results>/heatmaps/{model}/{slide}.tif",
    log:
        "<logs>/classify_features/{model}/{slide}.log",
    benchmark:
        "<benchmarks>/classify_features/{model}/{slide}.tsv"
    wildcard_constraints:
        model=head_names(),
    priority: 1
    group:
        segmenting_group
    conda:
        "../../envs/infer.yaml"
    params:
        code=lambda wildcards: code("classify_features"),
    resources:
        mem_mb=resource("classify_features", "mem_mb", 1000),
        runtime=resource("classify_features", "runtime", 20),
    message:
        "Classifying the tiles of {wildcards.slide} with {wildcards.model} by their features"
    script:
        "../../scripts/classify_features.py"


ruleorder: classify_features > classify_tiles
