"""The data of the CT studies: the set that the workflow draws itself, and images as plain pictures."""


rule make_ct_set:
    output:
        folder=directory(CT_SET),
    log:
        "<logs>/make_ct_set.log",
    benchmark:
        "<benchmarks>/make_ct_set.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=CT_DRAWING["drawing"],
        seed=CT_DRAWING["seed"],
        code=lambda wildcards: code("make_ct_set"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Drawing the embedded set of CT slices"
    script:
        "../../scripts/make_ct_set.py"


rule collect_ct_images:
    input:
        drawn=lambda wildcards: [] if COLLECTING[wildcards.study]["root"] else CT_SET,
        sources=lambda wildcards: COLLECTING[wildcards.study]["sources"] or [],
    output:
        folder=directory("<results>/studies/{study}/collected"),
        sources="<results>/studies/{study}/sources.tsv",
        boxes="<results>/studies/{study}/boxes.tsv",
        unreadable="<results>/studies/{study}/uncollected.tsv",
        facts="<results>/studies/{study}/collected.json",
    log:
        "<logs>/collect_ct_images/{study}.log",
    benchmark:
        "<benchmarks>/collect_ct_images/{study}.tsv"
    wildcard_constraints:
        study="|".join(COLLECTING) or "(?!)",
    conda:
        "../../envs/data.yaml"
    params:
        root=ct_images("root"),
        annotations=ct_images("annotations"),
        sources=ct_images("sources"),
        classes=image_classes,
        window=lambda wildcards: COLLECTING[wildcards.study]["window"],
        max_unreadable=lambda wildcards: COLLECTING[wildcards.study]["max_unreadable"],
        content=ct_content,
        code=lambda wildcards: code("collect_ct_images"),
    resources:
        mem_mb=resource("collect_ct_images", "mem_mb", 2000),
        runtime=resource("collect_ct_images", "runtime", 120),
    message:
        "Writing the CT images of {wildcards.study} as grey pictures"
    script:
        "../../scripts/collect_ct_images.py"
