rule detect_tissue:
    input:
        slide=slide_file,
    output:
        mask="<results>/slides/{slide}/tissue.png",
        outline="<results>/slides/{slide}/tissue.geojson",
    log:
        "<logs>/detect_tissue/{slide}.log",
    benchmark:
        "<benchmarks>/detect_tissue/{slide}.tsv"
    group:
        "prepare_slide"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        tissue=config["tissue"],
        geojson_frame=config["cohort"]["geojson_frame"],
        code=lambda wildcards: code("detect_tissue"),
    resources:
        mem_mb=resource("detect_tissue", "mem_mb", 3000),
        runtime=resource("detect_tissue", "runtime", 20),
    message:
        "Finding the tissue of {wildcards.slide}"
    script:
        "../../scripts/detect_tissue.py"
