"""ResNet-50 on lung patches, frozen, in part and whole: `snakemake --cores N study_histology_resnet50`."""

RESNET50 = study("histology_resnet50")
# `task/arm` of the picture; without that arm the page goes without.
RESNET50_ARM = image_tasks.pictured(RESNET50, "confused")


rule study_histology_resnet50:
    input:
        "<results>/studies/histology_resnet50/report.html",


rule draw_confused_pairs:
    input:
        predictions=f"<results>/studies/histology_resnet50/{RESNET50_ARM}/predictions.parquet",
        facts=f"<results>/studies/histology_resnet50/{RESNET50_ARM}/training.json",
        weights=f"<results>/studies/histology_resnet50/{RESNET50_ARM}/weights",
        drawn=[] if RESNET50["images"]["root"] else DRAWN_PATCHES,
    output:
        figure="<results>/studies/histology_resnet50/figures/confused.png",
        saliency="<results>/studies/histology_resnet50/figures/saliency.png",
    log:
        "<logs>/draw_confused_pairs.log",
    benchmark:
        "<benchmarks>/draw_confused_pairs.tsv"
    conda:
        "../../../envs/train.yaml"
    params:
        root=lambda wildcards: RESNET50["images"]["root"] or DRAWN_PATCHES,
        trial=lambda wildcards: image_tasks.trial_of(RESNET50, RESNET50_ARM),
        confused=RESNET50["confused"],
        code=lambda wildcards: study_code(
            "histology_resnet50", "draw_confused_pairs", image_tasks.module_of(RESNET50, RESNET50_ARM)
        ),
    resources:
        mem_mb=resource("draw_confused_pairs", "mem_mb", 4000),
        runtime=resource("draw_confused_pairs", "runtime", 20),
    message:
        "Drawing saliency maps of all classes, and of malignant images taken for the other cancer"
    script:
        "scripts/draw_confused_pairs.py"


rule report_histology_resnet50:
    input:
        images="<results>/studies/histology_resnet50/images.tsv",
        unreadable="<results>/studies/histology_resnet50/unreadable.tsv",
        groups="<results>/studies/histology_resnet50/groups.json",
        predictions=of_arms("histology_resnet50", "predictions.parquet"),
        facts=of_arms("histology_resnet50", "training.json"),
        histories=of_arms("histology_resnet50", "history.tsv", image_tasks.networks_of),
        external=external_files("histology_resnet50", "external.parquet"),
        external_facts=external_facts("histology_resnet50"),
        picture=expand(
            "<results>/studies/histology_resnet50/figures/{name}.png",
            name=["confused", "saliency"] if RESNET50_ARM else [],
        ),
        template=str(STUDIES_FOLDER / "histology_resnet50/page.md.j2"),
        partials=IMAGE_PARTIALS,
        published=str(STUDIES_FOLDER / "histology_resnet50/published.tsv"),
    output:
        metrics="<results>/studies/histology_resnet50/metrics.tsv",
        section="<results>/studies/histology_resnet50/section.json",
        page=report("<results>/studies/histology_resnet50/report.html", category="Studies"),
    log:
        "<logs>/report_histology_resnet50.log",
    benchmark:
        "<benchmarks>/report_histology_resnet50.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        settings=RESNET50,
        arms=arm_keys("histology_resnet50"),
        networks=arm_keys("histology_resnet50", image_tasks.networks_of),
        tested=image_tasks.external_keys(RESNET50),
        seed=config["seed"],
        code=lambda wildcards: study_code("histology_resnet50", "make_page"),
    resources:
        mem_mb=resource("report_histology_resnet50", "mem_mb", 4000),
        runtime=resource("report_histology_resnet50", "runtime", 30),
    message:
        "Writing the page of histology_resnet50"
    script:
        "scripts/make_page.py"
