"""A distilled histology classifier, its ablation and its rivals: `snakemake --cores N study_histology_distillation`."""

DISTILLED = study("histology_distillation")
# What an image costs is told of the first task: a class more or less changes it by a hair.
DISTILLED_TIMED = list(image_tasks.tasks_of(DISTILLED))[:1]
# `task/arm` of the picture; without that arm the page goes without.
DISTILLED_ARM = image_tasks.pictured(DISTILLED, "attention")


rule study_histology_distillation:
    input:
        "<results>/studies/histology_distillation/report.html",


rule draw_attention:
    input:
        predictions=f"<results>/studies/histology_distillation/{DISTILLED_ARM}/predictions.parquet",
        facts=f"<results>/studies/histology_distillation/{DISTILLED_ARM}/training.json",
        weights=f"<results>/studies/histology_distillation/{DISTILLED_ARM}/weights",
        drawn=[] if DISTILLED["images"]["root"] else DRAWN_PATCHES,
    output:
        figure="<results>/studies/histology_distillation/figures/attention.png",
    log:
        "<logs>/draw_attention.log",
    benchmark:
        "<benchmarks>/draw_attention.tsv"
    conda:
        "../../../envs/train.yaml"
    params:
        root=lambda wildcards: DISTILLED["images"]["root"] or DRAWN_PATCHES,
        trial=lambda wildcards: image_tasks.trial_of(DISTILLED, DISTILLED_ARM),
        code=lambda wildcards: study_code(
            "histology_distillation", "draw_attention", image_tasks.module_of(DISTILLED, DISTILLED_ARM)
        ),
    resources:
        mem_mb=resource("draw_attention", "mem_mb", 4000),
        runtime=resource("draw_attention", "runtime", 20),
    message:
        "Showing where the student sees evidence"
    script:
        "scripts/draw_attention.py"


rule report_histology_distillation:
    input:
        images="<results>/studies/histology_distillation/images.tsv",
        unreadable="<results>/studies/histology_distillation/unreadable.tsv",
        groups="<results>/studies/histology_distillation/groups.json",
        predictions=of_arms("histology_distillation", "predictions.parquet"),
        facts=of_arms("histology_distillation", "training.json"),
        histories=of_arms("histology_distillation", "history.tsv", image_tasks.networks_of),
        external=external_files("histology_distillation", "external.parquet"),
        external_facts=external_facts("histology_distillation"),
        costs=expand("<results>/studies/histology_distillation/{task}/cost.tsv", task=DISTILLED_TIMED),
        picture="<results>/studies/histology_distillation/figures/attention.png" if DISTILLED_ARM else [],
        template=str(STUDIES_FOLDER / "histology_distillation/page.md.j2"),
        partials=IMAGE_PARTIALS,
        published=expand(
            str(STUDIES_FOLDER / "histology_distillation/published/{table}.tsv"),
            table=["ablation", "comparison", "generalisation", "prior"],
        ),
    output:
        metrics="<results>/studies/histology_distillation/metrics.tsv",
        section="<results>/studies/histology_distillation/section.json",
        page=report("<results>/studies/histology_distillation/report.html", category="Studies"),
    log:
        "<logs>/report_histology_distillation.log",
    benchmark:
        "<benchmarks>/report_histology_distillation.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        settings=DISTILLED,
        tasks=DISTILLED_TIMED,
        arms=arm_keys("histology_distillation"),
        networks=arm_keys("histology_distillation", image_tasks.networks_of),
        tested=image_tasks.external_keys(DISTILLED),
        seed=config["seed"],
        code=lambda wildcards: study_code("histology_distillation", "make_page"),
    resources:
        mem_mb=resource("report_histology_distillation", "mem_mb", 4000),
        runtime=resource("report_histology_distillation", "runtime", 30),
    message:
        "Writing the page of histology_distillation"
    script:
        "scripts/make_page.py"
