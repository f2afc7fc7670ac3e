"""Two refiners, with and without the skip connection at full resolution: `snakemake --cores N study_top_skip`."""

TOP_SKIP = study("top_skip")
# With the connection first: the change that is shown is from the first to the second.
TOP_SKIP_RUNS = [TOP_SKIP["with_run"], TOP_SKIP["without_run"]]


rule study_top_skip:
    input:
        "<results>/studies/top_skip/section.json",


rule compare_top_skip:
    input:
        measured=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/metrics.json", run=TOP_SKIP_RUNS, slide=slides_in(TOP_SKIP["split"])
        ),
        refined=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/refined.tif", run=TOP_SKIP_RUNS, slide=slides_in(TOP_SKIP["split"])
        ),
        masks=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/segmentation.tif", run=TOP_SKIP_RUNS, slide=slides_in(TOP_SKIP["split"])
        ),
        published=str(RESOURCES / "published/drunet_facts.tsv"),
        template=str(STUDIES_FOLDER / "top_skip/page.md.j2"),
    output:
        metrics="<results>/studies/top_skip/metrics.tsv",
        changes="<results>/studies/top_skip/changes.tsv",
        figure="<results>/studies/top_skip/figures/top_skip.png",
        section="<results>/studies/top_skip/section.json",
        page=report("<results>/studies/top_skip/report.html", category="Studies"),
    log:
        "<logs>/compare_top_skip.log",
    benchmark:
        "<benchmarks>/compare_top_skip.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        slides=lambda wildcards: [s for s in measured_rows(wildcards) if s["split"] == TOP_SKIP["split"]],
        threshold=config["measure"]["threshold"],
        code=lambda wildcards: study_code("top_skip", "make_page"),
    resources:
        mem_mb=resource("compare_top_skip", "mem_mb", 3000),
        runtime=resource("compare_top_skip", "runtime", 20),
    message:
        "Comparing the refiners with and without the top skip connection"
    script:
        "scripts/make_page.py"
