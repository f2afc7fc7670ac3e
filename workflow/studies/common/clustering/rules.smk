"""Few-shot and many-shot models: features of tiles, clusters of features, and a classifier that learns the clusters."""

from studies.common.clustering.sharing import check_classifiers, clustered_models, clusters_of

try:
    check_classifiers(config["classifiers"])
except DrunetError as error:
    raise WorkflowError(str(error)) from None
CLUSTERED = "|".join(re.escape(m) for m in clustered_models(config["classifiers"])) or "(?!)"
CLUSTERED = rf"({CLUSTERED})(\.fold\d+of\d+)?"


ruleorder: train_clustered > train_classifier


rule embed_tiles:
    input:
        slides=learning_paths,
        tiles=learning_files("<results>/slides/{slide}/tiles.parquet"),
        annotations=learning_files("<results>/slides/{slide}/annotation.parquet"),
        weights=starting_weights,
        start=lambda wildcards: (
            f"{RESULTS}/models/{starting_model(wildcards.model)}/training.json"
            if starting_model(wildcards.model)
            else []
        ),
    output:
        features="<results>/models/{model}/clusters/features.parquet",
    log:
        "<logs>/embed_tiles/{model}.log",
    benchmark:
        "<benchmarks>/embed_tiles/{model}.tsv"
    wildcard_constraints:
        model=CLUSTERED,
    conda:
        "../../../../envs/train.yaml"
    params:
        # Not all settings: what else the model is told does not change the features that it starts from.
        weights=lambda wildcards: settings_of(wildcards.model)["weights"],
        weights_digests=lambda wildcards: own_digests(starting_weights(wildcards)),
        most=lambda wildcards: settings_of(wildcards.model)["data"]["clustering"]["tiles"],
        slides=learning_rows,
        training=training_count,
        rules={k: config["tiles"][k] for k in ("min_tissue", "min_tumour", "max_non_tumour", "min_annotated")},
        tile={k: config["tiles"][k] for k in ("mpp", "size", "step")},
        seed=config["seed"],
        code=lambda wildcards: study_code(
            "common/clustering", "embed_tiles", architecture_module(starting_model(wildcards.model) or wildcards.model)
        ),
    threads: resource("embed_tiles", "threads", 8)
    resources:
        mem_mb=resource("embed_tiles", "mem_mb", 4000),
        runtime=resource("embed_tiles", "runtime", 60),
        gpu=needs_gpu(),
    message:
        "Features of the tiles that {wildcards.model} learns from"
    script:
        "scripts/embed_tiles.py"


rule cluster_tiles:
    input:
        features="<results>/models/{model}/clusters/features.parquet",
        slides=learning_paths,
    output:
        clusters="<results>/models/{model}/clusters/clusters.parquet",
        facts="<results>/models/{model}/clusters/clusters.json",
        fitness="<results>/models/{model}/clusters/fitness.tsv",
        montage="<results>/models/{model}/clusters/montage.jpg",
        validity="<results>/models/{model}/clusters/validity.tsv",
    log:
        "<logs>/cluster_tiles/{model}.log",
    benchmark:
        "<benchmarks>/cluster_tiles/{model}.tsv"
    wildcard_constraints:
        model=CLUSTERED,
    conda:
        "../../../../envs/data.yaml"
    params:
        clustering=lambda wildcards: settings_of(wildcards.model)["data"]["clustering"],
        slides=learning_rows,
        examples=10,
        seed=config["seed"],
        code=lambda wildcards: study_code("common/clustering", "cluster_tiles"),
    resources:
        mem_mb=resource("cluster_tiles", "mem_mb", 4000),
        runtime=resource("cluster_tiles", "runtime", 240),
    message:
        "Finding clusters among the tiles of {wildcards.model}"
    script:
        "scripts/cluster_tiles.py"


rule train_clustered:
    input:
        slides=learning_paths,
        clusters=lambda wildcards: (
            f"{RESULTS}/models/{clusters_of(wildcards.model, config['classifiers'])}/clusters/clusters.parquet"
        ),
        weights=starting_weights,
        start=lambda wildcards: (
            f"{RESULTS}/models/{starting_model(wildcards.model)}/training.json"
            if starting_model(wildcards.model)
            else []
        ),
    output:
        weights="<results>/models/{model}/weights.weights.h5",
        history="<results>/models/{model}/history.tsv",
        facts="<results>/models/{model}/training.json",
    log:
        "<logs>/train_clustered/{model}.log",
    benchmark:
        "<benchmarks>/train_clustered/{model}.tsv"
    wildcard_constraints:
        model=CLUSTERED,
    conda:
        "../../../../envs/train.yaml"
    params:
        settings=lambda wildcards: learnt_settings(wildcards.model),
        least=lambda wildcards: (
            settings_of(clusters_of(wildcards.model, config["classifiers"]))["data"]["clustering"]["min_tiles"]
        ),
        slides=learning_rows,
        seed=config["seed"],
        weights_digests=lambda wildcards: own_digests(starting_weights(wildcards)),
        code=lambda wildcards: study_code(
            "common/clustering",
            "train_clustered",
            architecture_module(wildcards.model),
            architecture_module(starting_model(wildcards.model) or wildcards.model),
        ),
    threads: resource("train_classifier", "threads", 8)
    resources:
        mem_mb=resource("train_classifier", "mem_mb", 6000),
        runtime=resource("train_classifier", "runtime", 240),
        gpu=needs_gpu(),
    message:
        "Training {wildcards.model} on clusters of tiles"
    script:
        "scripts/train_clustered.py"
