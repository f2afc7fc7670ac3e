"""Networks of tumour boxes: slices read once, then a job per protocol of splitting and arm."""


rule collect_ct_slices:
    input:
        drawn=[] if BOXES["slices"]["root"] else CT_SET,
    output:
        folder=directory("<results>/studies/ct_boxes/collected"),
        slices="<results>/studies/ct_boxes/slices.tsv",
        facts="<results>/studies/ct_boxes/matching.json",
    log:
        "<logs>/collect_ct_slices.log",
    benchmark:
        "<benchmarks>/collect_ct_slices.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        root=box_folders()[0],
        annotations=box_folders()[1],
        window=BOXES["slices"]["window"],
        subtypes=box_tasks.subtypes_of(BOXES),
        rule=BOXES["slices"]["rule"],
        at_most=BOXES["slices"]["at_most"],
        max_unreadable=BOXES["slices"]["max_unreadable"],
        content=box_content,
        seed=config["seed"],
        code=lambda wildcards: code("collect_ct_slices"),
    resources:
        mem_mb=resource("collect_ct_slices", "mem_mb", 2000),
        runtime=resource("collect_ct_slices", "runtime", 120),
    message:
        "Matching CT slices with annotated boxes, and writing them as grey pictures"
    script:
        "../../scripts/collect_ct_slices.py"


rule train_box_arm:
    input:
        folder="<results>/studies/ct_boxes/collected",
        slices="<results>/studies/ct_boxes/slices.tsv",
    output:
        predictions="<results>/studies/ct_boxes/{protocol}/{arm}/predictions.parquet",
        history="<results>/studies/ct_boxes/{protocol}/{arm}/history.tsv",
        facts="<results>/studies/ct_boxes/{protocol}/{arm}/training.json",
        weights=directory("<results>/studies/ct_boxes/{protocol}/{arm}/weights"),
    log:
        "<logs>/train_box_arm/{protocol}/{arm}.log",
    benchmark:
        "<benchmarks>/train_box_arm/{protocol}/{arm}.tsv"
    wildcard_constraints:
        protocol="|".join(BOXES["protocols"]),
        arm="|".join(map(re.escape, box_tasks.arms_of(BOXES))),
    conda:
        "../../envs/train.yaml"
    params:
        arm=lambda wildcards: box_tasks.arm_settings(BOXES, wildcards.arm),
        source=BOXES["source"],
        targets=BOXES["targets"],
        parts=BOXES["parts"],
        validation_share=BOXES["validation_share"],
        size=BOXES["size"],
        seed=config["seed"],
        code=lambda wildcards: code("train_box_arm", box_tasks.module_of(BOXES, wildcards.arm)),
    threads: resource("train_box_arm", "threads", 1)
    resources:
        mem_mb=resource("train_box_arm", "mem_mb", 6000),
        runtime=resource("train_box_arm", "runtime", 720),
        gpu=needs_gpu(),
    message:
        "Training {wildcards.arm} on boxes, {wildcards.protocol} split"
    script:
        "../../scripts/train_box_arm.py"
