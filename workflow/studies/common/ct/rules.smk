"""The data of the CT studies: the set that the workflow draws itself, and images as plain pictures."""


rule make_ct_set:
    output:
        folder=directory(CT_SET),
    log:
        "<logs>/make_ct_set.log",
    benchmark:
        "<benchmarks>/make_ct_set.tsv"
    conda:
        "../../../../envs/data.yaml"
    params:
        settings=CT_DRAWING["drawing"],
        seed=CT_DRAWING["seed"],
        code=lambda wildcards: study_code("common/ct", "make_ct_set"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Drawing the embedded set of CT slices"
    script:
        "scripts/make_ct_set.py"
