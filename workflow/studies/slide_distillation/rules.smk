"""Distilled students in the place of the patch-wise classifier: `snakemake --cores N study_slide_distillation`."""

SLIDE_DISTILLATION = study("slide_distillation")
STUDENT_ARMS = SLIDE_DISTILLATION["arms"]
STUDENT_MODELS = [arm["classifier"] for arm in STUDENT_ARMS.values()]
# With and without refiner; runs that two arms share are read once.
STUDENT_RUNS = list(dict.fromkeys(arm[way] for arm in STUDENT_ARMS.values() for way in ("run", "alone") if arm[way]))


rule study_slide_distillation:
    input:
        "<results>/studies/slide_distillation/report.html",


# A rule of its own, so that `--forcerun time_students` times anew what is trained.
rule time_students:
    input:
        models=expand("<results>/models/{model}/model.onnx", model=STUDENT_MODELS),
        facts=expand("<results>/models/{model}/export.json", model=STUDENT_MODELS),
    output:
        cost="<results>/studies/slide_distillation/cost.tsv",
    log:
        "<logs>/time_students.log",
    benchmark:
        "<benchmarks>/time_students.tsv"
    conda:
        "../../../envs/infer.yaml"
    params:
        arms=list(STUDENT_ARMS),
        reference=SLIDE_DISTILLATION["reference"],
        timing=SLIDE_DISTILLATION["timing"],
        engine=exact_engine(),
        size=config["tiles"]["size"],
        layouts=tile_layouts(STUDENT_ARMS),
        code=lambda wildcards: study_code("common", "time_classifiers"),
    # Every core, whatever the network uses of them: a job beside it would be measured too.
    threads: workflow.resource_settings.cores or 8
    resources:
        mem_mb=resource("time_students", "mem_mb", 4000),
        runtime=resource("time_students", "runtime", 30),
        gpu=needs_gpu(),
    message:
        "Timing the students and their teacher"
    script:
        "../common/scripts/time_classifiers.py"


rule report_slide_distillation:
    input:
        measured=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/metrics.json",
            run=STUDENT_RUNS,
            slide=slides_in(SLIDE_DISTILLATION["split"]),
        ),
        tables=lambda wildcards: expand(
            "<results>/slides/{slide}/tiles.parquet", slide=slides_in(SLIDE_DISTILLATION["split"])
        ),
        answers=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet",
            model=STUDENT_MODELS,
            slide=slides_in(SLIDE_DISTILLATION["split"]),
        ),
        cards=[f"<results>/models/{m}/card.md" for m in STUDENT_MODELS if not is_finished(m)],
        cost="<results>/studies/slide_distillation/cost.tsv",
        template=str(STUDIES_FOLDER / "slide_distillation/page.md.j2"),
    output:
        metrics="<results>/studies/slide_distillation/metrics.tsv",
        dice="<results>/studies/slide_distillation/dice.tsv",
        figure="<results>/studies/slide_distillation/figures/speed_against_dice.png",
        section="<results>/studies/slide_distillation/section.json",
        page=report("<results>/studies/slide_distillation/report.html", category="Studies"),
    log:
        "<logs>/report_slide_distillation.log",
    benchmark:
        "<benchmarks>/report_slide_distillation.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        **{key: SLIDE_DISTILLATION[key] for key in ("reference", "asked", "bootstrap")},
        arms=STUDENT_ARMS,
        runs=STUDENT_RUNS,
        settings=[settings_of(m) for m in STUDENT_MODELS],
        slides=lambda wildcards: [s for s in measured_rows(wildcards) if s["split"] == SLIDE_DISTILLATION["split"]],
        size=config["tiles"]["size"],
        seed=config["seed"],
        code=lambda wildcards: study_code("slide_distillation", "make_page"),
    resources:
        mem_mb=resource("report_slide_distillation", "mem_mb", 2000),
        runtime=resource("report_slide_distillation", "runtime", 20),
    message:
        "Setting the students beside their teacher"
    script:
        "scripts/make_page.py"
