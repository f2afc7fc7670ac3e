# What the slides look like that a classifier learnt from, for the verdict on how far others are like them.


rule learn_appearance:
    input:
        classified=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet", model=wildcards.model, slide=known_slides(wildcards.model)
        ),
    output:
        facts="<results>/models/{model}/appearance.json",
    log:
        "<logs>/learn_appearance/{model}.log",
    benchmark:
        "<benchmarks>/learn_appearance/{model}.tsv"
    wildcard_constraints:
        model=pattern(config["classifiers"]),
    conda:
        "../../envs/data.yaml"
    params:
        code=lambda wildcards: code("learn_appearance"),
    resources:
        mem_mb=resource("learn_appearance", "mem_mb", 2000),
        runtime=resource("learn_appearance", "runtime", 10),
    message:
        "Noting what the slides look like that {wildcards.model} learnt from"
    script:
        "../../scripts/learn_appearance.py"
