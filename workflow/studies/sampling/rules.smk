"""Sampling and training strategies on the same test slides: `snakemake --cores N study_sampling`."""

from studies.sampling.settings import models_of

SAMPLING = study("sampling")
# Arms may share a classifier, which is then trained and read once.
SAMPLING_MODELS = models_of(SAMPLING["arms"])
SAMPLING_TUNED = models_of(SAMPLING["arms"], tuned=True)


rule study_sampling:
    input:
        "<results>/studies/sampling/report.html",


rule compare_sampling:
    input:
        tables=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=slides_in("test")),
        answers=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet", model=SAMPLING_MODELS, slide=slides_in("test")
        ),
        held_out_tables=lambda wildcards: [
            f"{RESULTS}/slides/{s}/tiles.parquet" for m in SAMPLING_TUNED for s in validation_slides(m)
        ],
        held_out_answers=lambda wildcards: [
            f"{RESULTS}/heatmaps/{m}/{s}.parquet" for m in SAMPLING_TUNED for s in validation_slides(m)
        ],
        facts=lambda wildcards: [f"{RESULTS}/models/{m}/training.json" for m in SAMPLING_MODELS if not is_finished(m)],
        template=str(STUDIES_FOLDER / "sampling/page.md.j2"),
    output:
        metrics="<results>/studies/sampling/metrics.tsv",
        slides="<results>/studies/sampling/slides.tsv",
        tests="<results>/studies/sampling/tests.tsv",
        figure="<results>/studies/sampling/figures/strategies.png",
        section="<results>/studies/sampling/section.json",
        page=report("<results>/studies/sampling/report.html", category="Studies"),
    log:
        "<logs>/compare_sampling.log",
    benchmark:
        "<benchmarks>/compare_sampling.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        arms=SAMPLING["arms"],
        reference=SAMPLING["reference"],
        bootstrap=SAMPLING["bootstrap"],
        settings=lambda wildcards: {m: settings_of(m) for m in SAMPLING_MODELS},
        slides=lambda wildcards: [s for s in measured_rows(wildcards) if s["split"] == "test"],
        held_out=lambda wildcards: {
            m: [{"slide": s, "patient": s} for s in validation_slides(m)] for m in SAMPLING_TUNED
        },
        trained=lambda wildcards: [m for m in SAMPLING_MODELS if not is_finished(m)],
        seed=config["seed"],
        code=lambda wildcards: study_code("sampling", "make_page"),
    resources:
        mem_mb=resource("compare_sampling", "mem_mb", 2000),
        runtime=resource("compare_sampling", "runtime", 20),
    message:
        "Comparing the sampling strategies"
    script:
        "scripts/make_page.py"
