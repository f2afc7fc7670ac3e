"""Boxes around lung tumours, from one subtype to others: `snakemake --cores N study_ct_boxes`."""


include: "inputs.smk"


BOX_SOURCE = box_tasks.source_of(BOXES["source"])
# `protocol/arm` of the pictures.
BOX_PICTURES = f"{box_tasks.pictured_protocol(BOXES)}/{BOXES['pictures']['arm']}"


rule study_ct_boxes:
    input:
        "<results>/studies/ct_boxes/report.html",


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
        "../../../envs/data.yaml"
    params:
        root=box_folders()[0],
        annotations=box_folders()[1],
        window=BOXES["slices"]["window"],
        subtypes=[*box_tasks.subtypes_in(BOX_SOURCE), *BOXES["targets"]],
        rule=BOXES["slices"]["rule"],
        at_most=BOXES["slices"]["at_most"],
        max_unreadable=BOXES["slices"]["max_unreadable"],
        content=box_content,
        seed=config["seed"],
        code=lambda wildcards: study_code("ct_boxes", "collect_ct_slices"),
    resources:
        mem_mb=resource("collect_ct_slices", "mem_mb", 2000),
        runtime=resource("collect_ct_slices", "runtime", 120),
    message:
        "Matching CT slices with annotated boxes, and writing them as grey pictures"
    script:
        "scripts/collect_ct_slices.py"


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
        "../../../envs/train.yaml"
    params:
        arm=lambda wildcards: box_tasks.arm_settings(BOXES, wildcards.arm),
        source=BOX_SOURCE,
        targets=BOXES["targets"],
        parts=BOXES["parts"],
        validation_share=BOXES["validation_share"],
        size=BOXES["size"],
        seed=config["seed"],
        code=lambda wildcards: study_code("ct_boxes", "train_box_arm", box_tasks.module_of(BOXES, wildcards.arm)),
    threads: resource("train_box_arm", "threads", 1)
    resources:
        mem_mb=resource("train_box_arm", "mem_mb", 6000),
        runtime=resource("train_box_arm", "runtime", 720),
        gpu=needs_gpu(),
    message:
        "Training {wildcards.arm} on boxes, {wildcards.protocol} split"
    script:
        "scripts/train_box_arm.py"


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
        "../../../envs/train.yaml"
    params:
        source=BOX_SOURCE,
        targets=BOXES["targets"],
        slices=BOXES["pictures"]["slices"],
        code=lambda wildcards: study_code(
            "ct_boxes", "draw_ct_boxes", box_tasks.module_of(BOXES, BOXES["pictures"]["arm"])
        ),
    resources:
        mem_mb=resource("draw_ct_boxes", "mem_mb", 4000),
        runtime=resource("draw_ct_boxes", "runtime", 20),
    message:
        "Showing slices with their boxes, outlines and attention"
    script:
        "scripts/draw_ct_boxes.py"


rule report_ct_boxes:
    input:
        slices="<results>/studies/ct_boxes/slices.tsv",
        matching="<results>/studies/ct_boxes/matching.json",
        predictions=of_box_arms("predictions.parquet"),
        histories=of_box_arms("history.tsv"),
        facts=of_box_arms("training.json"),
        pictures="<results>/studies/ct_boxes/figures/boxes.png",
        published=str(STUDIES_FOLDER / "ct_boxes/published.tsv"),
        template=str(STUDIES_FOLDER / "ct_boxes/page.md.j2"),
    output:
        metrics="<results>/studies/ct_boxes/metrics.tsv",
        section="<results>/studies/ct_boxes/section.json",
        page=report("<results>/studies/ct_boxes/report.html", category="Studies"),
    log:
        "<logs>/report_ct_boxes.log",
    benchmark:
        "<benchmarks>/report_ct_boxes.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        # `snakemake --report` copies these.
        settings=study_settings.without_paths(BOXES),
        trainings=box_tasks.keys_of(BOXES),
        seed=config["seed"],
        code=lambda wildcards: study_code("ct_boxes", "make_page"),
    resources:
        mem_mb=resource("report_ct_boxes", "mem_mb", 4000),
        runtime=resource("report_ct_boxes", "runtime", 30),
    message:
        "Writing the page of ct_boxes"
    script:
        "scripts/make_page.py"
