# Does it pay to let the workflow choose what to annotate next? A simulation of annotation round by round.

ACTIVE_LEARNING = study("active_learning")


rule study_active_learning:
    input:
        "<results>/studies/active_learning/report.html",


rule simulate_annotation:
    input:
        tiles=lambda wildcards: expand(
            "<results>/slides/{slide}/tiles.parquet", slide=outlined_slides("train", "val", "test")
        ),
        colours=lambda wildcards: expand(
            "<results>/slides/{slide}/colours.parquet", slide=outlined_slides("train", "val", "test")
        ),
        template=str(STUDIES_FOLDER / "active_learning/page.md.j2"),
    output:
        rounds="<results>/studies/active_learning/rounds.tsv",
        metrics="<results>/studies/active_learning/metrics.tsv",
        figure="<results>/studies/active_learning/figures/curves.png",
        section="<results>/studies/active_learning/section.json",
        page=report("<results>/studies/active_learning/report.html", category="Studies"),
    log:
        "<logs>/simulate_annotation.log",
    benchmark:
        "<benchmarks>/simulate_annotation.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        slides=lambda wildcards: [{"slide": s, "split": ROWS[s].split} for s in outlined_slides("train", "val", "test")],
        settings=ACTIVE_LEARNING,
        drawn=lambda wildcards: all(s in DEMO_SLIDES for s in outlined_slides("train", "val", "test")),
        seed=config["seed"],
        code=lambda wildcards: study_code("active_learning", "make_page"),
    resources:
        mem_mb=resource("simulate_annotation", "mem_mb", 2000),
        runtime=resource("simulate_annotation", "runtime", 30),
    message:
        "Simulating which regions to annotate next"
    script:
        "scripts/make_page.py"
