"""Boxes round lung tumours, learnt on one subtype and tried on others: `snakemake --cores N study_ct_boxes`."""


include: "../rules/boxes.smk"


# `protocol/arm` of the pictures.
BOX_PICTURES = f"{box_tasks.shown_protocol(BOXES)}/{BOXES['pictures']['arm']}"


rule study_ct_boxes:
    input:
        "<results>/studies/ct_boxes/report.html",


rule draw_ct_boxes:
    input:
        folder="<results>/studies/ct_boxes/collected",
        slices="<results>/studies/ct_boxes/slices.tsv",
        predictions=f"<results>/studies/ct_boxes/{BOX_PICTURES}/predictions.parquet",
        facts=f"<results>/studies/ct_boxes/{BOX_PICTURES}/training.json",
        weights=f"<results>/studies/ct_boxes/{BOX_PICTURES}/weights",
    output:
        figure="<results>/studies/ct_boxes/figures/boxes.png",
        outlines="<results>/studies/ct_boxes/figures/outlines.geojson",
    log:
        "<logs>/draw_ct_boxes.log",
    benchmark:
        "<benchmarks>/draw_ct_boxes.tsv"
    conda:
        "../../envs/train.yaml"
    params:
        source=BOXES["source"],
        targets=BOXES["targets"],
        slices=BOXES["pictures"]["slices"],
        code=code("draw_ct_boxes", box_tasks.module_of(BOXES, BOXES["pictures"]["arm"])),
    resources:
        mem_mb=resource("draw_ct_boxes", "mem_mb", 4000),
        runtime=resource("draw_ct_boxes", "runtime", 20),
    message:
        "Showing slices with their boxes, outlines and attention"
    script:
        "../../scripts/draw_ct_boxes.py"


rule report_ct_boxes:
    input:
        slices="<results>/studies/ct_boxes/slices.tsv",
        matching="<results>/studies/ct_boxes/matching.json",
        predictions=of_box_arms("predictions.parquet"),
        histories=of_box_arms("history.tsv"),
        facts=of_box_arms("training.json"),
        pictures="<results>/studies/ct_boxes/figures/boxes.png",
        published=str(RESOURCES / "published/ct_boxes.tsv"),
    output:
        metrics="<results>/studies/ct_boxes/metrics.tsv",
        section="<results>/studies/ct_boxes/section.json",
        page=report("<results>/studies/ct_boxes/report.html", category="Studies"),
    log:
        "<logs>/report_ct_boxes.log",
    benchmark:
        "<benchmarks>/report_ct_boxes.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        # `snakemake --report` copies these.
        settings=study_settings.without_paths(BOXES),
        trainings=box_tasks.keys_of(BOXES),
        seed=config["seed"],
        code=lambda wildcards: code("report_ct_boxes"),
    resources:
        mem_mb=resource("report_ct_boxes", "mem_mb", 4000),
        runtime=resource("report_ct_boxes", "runtime", 30),
    message:
        "Writing the page of ct_boxes"
    script:
        "../../scripts/report_ct_boxes.py"
