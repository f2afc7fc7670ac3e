rule inspect_slide:
    input:
        slide=slide_file,
        annotation=annotation_file,
        region=lambda wildcards: row(wildcards).region or [],
        own_tissue=lambda wildcards: row(wildcards).tissue or [],
    output:
        status="<results>/slides/{slide}/status.json",
        tissue="<results>/slides/{slide}/tissue.png",
        outline="<results>/slides/{slide}/tissue.geojson",
        annotation="<results>/slides/{slide}/annotation.parquet",
    log:
        "<logs>/inspect_slide/{slide}.log",
    benchmark:
        "<benchmarks>/inspect_slide/{slide}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        kind=annotation_kind,
        tissue=config["tissue"],
        classes=config["cohort"]["annotation_classes"],
        geojson_frame=config["cohort"]["geojson_frame"],
        slide_digest=lambda wildcards: own_digests(slide_file(wildcards), digests.ends_digest),
        annotation_digest=lambda wildcards: own_digests(annotation_file(wildcards)),
        area_digests=lambda wildcards: [own_digests(f) for f in (row(wildcards).region, row(wildcards).tissue) if f],
        max_untangled=config["cohort"].get("max_untangled", 0.05),
        code=lambda wildcards: code("inspect_slide"),
    resources:
        mem_mb=resource("inspect_slide", "mem_mb", 3000),
        runtime=resource("inspect_slide", "runtime", 20),
    message:
        "Inspecting {wildcards.slide}"
    script:
        "../../scripts/inspect_slide.py"


checkpoint list_slides:
    input:
        expand("<results>/slides/{slide}/status.json", slide=ROWS),
    output:
        table="<results>/slides.tsv",
    log:
        "<logs>/list_slides.log",
    benchmark:
        "<benchmarks>/list_slides.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        # Not of `inspect_slide`: moving a slide to another split changes no tissue.
        sheet=[{"split": r.split, "annotation_kind": r.annotation_kind} for r in ROWS.values()],
        remarks=lambda wildcards: cohort.remarks(ROWS.values(), demo_files()),
        on_bad_slide=config["cohort"]["on_bad_slide"],
        code=lambda wildcards: code("list_slides"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Listing which slides can be used"
    script:
        "../../scripts/list_slides.py"
