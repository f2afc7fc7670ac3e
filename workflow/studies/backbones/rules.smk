"""Backbones of the patch-wise classifier under one protocol: `snakemake --cores N study_backbones`."""

BACKBONES = study("backbones")
BACKBONE_ARMS = {name: arm for name, arm in BACKBONES["arms"].items() if arm}
BACKBONE_MODELS = [arm["classifier"] for arm in BACKBONE_ARMS.values()]


rule study_backbones:
    input:
        "<results>/studies/backbones/report.html",


# A rule of its own, so that `--forcerun time_backbones` times anew what is trained.
rule time_backbones:
    input:
        models=expand("<results>/models/{model}/model.onnx", model=BACKBONE_MODELS),
        facts=expand("<results>/models/{model}/export.json", model=BACKBONE_MODELS),
    output:
        cost="<results>/studies/backbones/cost.tsv",
    log:
        "<logs>/time_backbones.log",
    benchmark:
        "<benchmarks>/time_backbones.tsv"
    conda:
        "../../../envs/infer.yaml"
    params:
        arms=list(BACKBONE_ARMS),
        timing=BACKBONES["timing"],
        engine=exact_engine(),
        size=config["tiles"]["size"],
        layouts=tile_layouts(BACKBONE_ARMS),
        code=lambda wildcards: study_code("common", "time_classifiers"),
    # Every core, whatever the network uses of them: a job beside it would be measured too.
    threads: workflow.resource_settings.cores or 8
    resources:
        mem_mb=resource("time_backbones", "mem_mb", 4000),
        runtime=resource("time_backbones", "runtime", 30),
        gpu=needs_gpu(),
    message:
        "Timing the backbones"
    script:
        "../common/scripts/time_classifiers.py"


rule compare_backbones:
    input:
        tables=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=slides_in("test")),
        answers=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet", model=BACKBONE_MODELS, slide=slides_in("test")
        ),
        cost="<results>/studies/backbones/cost.tsv",
        published=str(RESOURCES / "published/drunet_backbones.tsv"),
        template=str(STUDIES_FOLDER / "backbones/page.md.j2"),
    output:
        metrics="<results>/studies/backbones/metrics.tsv",
        slides="<results>/studies/backbones/slides.tsv",
        figure="<results>/studies/backbones/figures/f1_against_time.png",
        section="<results>/studies/backbones/section.json",
        page=report("<results>/studies/backbones/report.html", category="Studies"),
    log:
        "<logs>/compare_backbones.log",
    benchmark:
        "<benchmarks>/compare_backbones.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        arms=BACKBONE_ARMS,
        bootstrap=BACKBONES["bootstrap"],
        slides=lambda wildcards: [s for s in measured_rows(wildcards) if s["split"] == "test"],
        size=config["tiles"]["size"],
        scaling={
            name: settings_of(arm["classifier"]).get("options", {"normalise": ""}).get("normalise", "none")
            for name, arm in BACKBONE_ARMS.items()
        },
        seed=config["seed"],
        code=lambda wildcards: study_code("backbones", "make_page"),
    resources:
        mem_mb=resource("compare_backbones", "mem_mb", 2000),
        runtime=resource("compare_backbones", "runtime", 20),
    message:
        "Comparing the backbones"
    script:
        "scripts/make_page.py"
