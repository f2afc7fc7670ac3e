"""Saliency maps of true and false positive tiles (Oskouei et al. 2025, Fig. 7)."""

SALIENCY = study("saliency")
SALIENCY_MODELS = SALIENCY["models"]


rule explain_classifier:
    input:
        slides=lambda wildcards: [ROWS[s].path for s in slides_in(SALIENCY["split"])],
        tiles=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=slides_in(SALIENCY["split"])),
        heatmaps=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet", model=wildcards.model, slide=slides_in(SALIENCY["split"])
        ),
        weights="<results>/models/{model}/weights.weights.h5",
        facts="<results>/models/{model}/training.json",
    output:
        tiles="<results>/studies/saliency/{model}/tiles.tsv",
        metrics="<results>/studies/saliency/{model}/metrics.tsv",
        figure="<results>/studies/saliency/figures/{model}.png",
    log:
        "<logs>/explain_classifier/{model}.log",
    benchmark:
        "<benchmarks>/explain_classifier/{model}.tsv"
    wildcard_constraints:
        model=trained_names("classifiers"),
    conda:
        "../../../envs/train.yaml"
    params:
        settings={k: v for k, v in SALIENCY.items() if k != "models"},
        slides=lambda wildcards: [{"slide_id": s, "mpp": ROWS[s].mpp} for s in slides_in(SALIENCY["split"])],
        threshold=config["measure"]["threshold"],
        code=lambda wildcards: study_code("saliency", "explain_classifier", architecture_module(wildcards.model)),
    threads: resource("explain_classifier", "threads", 8)
    resources:
        mem_mb=resource("explain_classifier", "mem_mb", 6000),
        runtime=resource("explain_classifier", "runtime", 60),
        gpu=needs_gpu(),
    message:
        "Making saliency maps of {wildcards.model}"
    script:
        "scripts/explain_classifier.py"


rule gather_explanations:
    input:
        tiles=expand("<results>/studies/saliency/{model}/tiles.tsv", model=SALIENCY_MODELS),
        metrics=expand("<results>/studies/saliency/{model}/metrics.tsv", model=SALIENCY_MODELS),
        figures=expand("<results>/studies/saliency/figures/{model}.png", model=SALIENCY_MODELS),
        template=str(STUDIES_FOLDER / "saliency/page.md.j2"),
    output:
        metrics="<results>/studies/saliency/metrics.tsv",
        section="<results>/studies/saliency/section.json",
        page="<results>/studies/saliency/report.html",
    log:
        "<logs>/gather_explanations.log",
    benchmark:
        "<benchmarks>/gather_explanations.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        settings=SALIENCY,
        code=lambda wildcards: study_code("saliency", "make_page"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Writing the page of study_saliency"
    script:
        "scripts/make_page.py"


rule study_saliency:
    input:
        "<results>/studies/saliency/report.html",
