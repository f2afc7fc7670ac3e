"""Few-shot and many-shot on evolved clusters of tissue: `snakemake --cores N study_clustering`."""

from studies.common.clustering.sharing import cluster_owners, clustered_models

CLUSTERING = study("clustering")
CLUSTERING_ARMS = {name: arm for name, arm in CLUSTERING["arms"].items() if arm}
CLUSTERING_MODELS = [arm["classifier"] for arm in CLUSTERING_ARMS.values()]
CLUSTERING_OWNERS = cluster_owners(CLUSTERING_ARMS, config["classifiers"])
CLUSTERING_LEARNERS = [m for m in clustered_models(config["classifiers"]) if m in CLUSTERING_MODELS]


rule study_clustering:
    input:
        "<results>/studies/clustering/report.html",


rule show_clusters:
    input:
        clusters=expand("<results>/models/{model}/clusters/clusters.json", model=CLUSTERING_OWNERS),
        validity=expand("<results>/models/{model}/clusters/validity.tsv", model=CLUSTERING_OWNERS),
        montages=expand("<results>/models/{model}/clusters/montage.jpg", model=CLUSTERING_OWNERS),
        trained=expand("<results>/models/{model}/training.json", model=CLUSTERING_LEARNERS),
        tables=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=slides_in("test")),
        answers=lambda wildcards: expand(
            "<results>/heatmaps/{model}/{slide}.parquet", model=CLUSTERING_MODELS, slide=slides_in("test")
        ),
        template=str(STUDIES_FOLDER / "clustering/page.md.j2"),
    output:
        metrics="<results>/studies/clustering/metrics.tsv",
        montages=expand("<results>/studies/clustering/figures/{model}_montage.jpg", model=CLUSTERING_OWNERS),
        section="<results>/studies/clustering/section.json",
        page=report("<results>/studies/clustering/report.html", category="Studies"),
    log:
        "<logs>/show_clusters.log",
    benchmark:
        "<benchmarks>/show_clusters.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        arms=CLUSTERING_ARMS,
        owners=CLUSTERING_OWNERS,
        learners=CLUSTERING_LEARNERS,
        bootstrap=CLUSTERING["bootstrap"],
        slides=lambda wildcards: [s for s in measured_rows(wildcards) if s["split"] == "test"],
        seed=config["seed"],
        code=lambda wildcards: study_code("clustering", "make_page"),
    resources:
        mem_mb=resource("show_clusters", "mem_mb", 2000),
        runtime=resource("show_clusters", "runtime", 20),
    message:
        "Writing the page of study_clustering"
    script:
        "scripts/make_page.py"
