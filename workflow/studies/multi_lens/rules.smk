"""Multi-lens distortion with and without, by strength, and its cost: `snakemake --cores N study_multi_lens`."""

from studies.multi_lens.arms import arms_of, folder_states, image_sets_of
from studies.multi_lens.arms import largest_strength, networks_of, results_of, training_settings

MULTI_LENS = study("multi_lens")
# On slides: runs by network, and each once.
LENS_NETWORKS = networks_of(MULTI_LENS)
LENS_RUNS = list(dict.fromkeys(run for runs in LENS_NETWORKS.values() for run in runs))
# The classifier with lenses of the first network, whose training is timed; without any, the network of the images.
LENS_TIMED = config["classifiers"][config["runs"][LENS_RUNS[1]]["classifier"]] if LENS_RUNS else MULTI_LENS
# On sets of small images.
LENS_SETS = image_sets_of(MULTI_LENS)
LENS_WEIGHTS = list(MULTI_LENS["weights"].values()) if isinstance(MULTI_LENS["weights"], dict) else []
LENS_OUTCOMES = [
    f"<results>/studies/multi_lens/{dataset}/{arm}.{seed}"
    for dataset in LENS_SETS
    for arm in arms_of(MULTI_LENS, dataset)
    for seed in range(MULTI_LENS["repeats"])
]
LENS_RESULTS = {
    name: f"<results>/studies/multi_lens/{file}"
    for name, file in results_of(slides=LENS_RUNS, images=LENS_SETS).items()
}


rule study_multi_lens:
    input:
        "<results>/studies/multi_lens/report.html",


rule read_image_set:
    input:
        training=lambda wildcards: LENS_SETS[wildcards.dataset].get("training", []),
        test=lambda wildcards: LENS_SETS[wildcards.dataset].get("test", []),
    output:
        images="<results>/studies/multi_lens/{dataset}/images.npz",
    log:
        "<logs>/read_image_set/{dataset}.log",
    benchmark:
        "<benchmarks>/read_image_set/{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(LENS_SETS) or "(?!)",
    conda:
        "../../../envs/data.yaml"
    params:
        test_images=MULTI_LENS["test_images"],
        folders=lambda wildcards: folder_states(LENS_SETS[wildcards.dataset]),
        file_digests=lambda wildcards: own_digests(
            [path for part in ("training", "test") for path in LENS_SETS[wildcards.dataset].get(part, [])],
            digests.ends_digest,
        ),
        seed=config["seed"],
        code=lambda wildcards: study_code("multi_lens", "read_image_set"),
    resources:
        mem_mb=resource("read_image_set", "mem_mb", 4000),
        runtime=resource("read_image_set", "runtime", 20),
    message:
        "Reading the images of {wildcards.dataset}"
    script:
        "scripts/read_image_set.py"


rule train_lens_arm:
    input:
        images="<results>/studies/multi_lens/{dataset}/images.npz",
        weights=LENS_WEIGHTS,
    output:
        outcome="<results>/studies/multi_lens/{dataset}/{arm}.{seed}.json",
        predictions="<results>/studies/multi_lens/{dataset}/{arm}.{seed}.tsv",
    log:
        "<logs>/train_lens_arm/{dataset}/{arm}.{seed}.log",
    benchmark:
        "<benchmarks>/train_lens_arm/{dataset}/{arm}.{seed}.tsv"
    wildcard_constraints:
        dataset="|".join(LENS_SETS) or "(?!)",
        arm=r"without|strength_[0-9.]+",
        seed=r"\d+",
    conda:
        "../../../envs/train.yaml"
    params:
        settings=lambda wildcards: training_settings(MULTI_LENS, wildcards.dataset),
        weights_digests=lambda wildcards: own_digests(LENS_WEIGHTS),
        seed=config["seed"],
        code=lambda wildcards: study_code(
            "multi_lens", "train_lens_arm", registry.module_of(MULTI_LENS["architecture"])
        ),
    threads: resource("train_lens_arm", "threads", 1)
    resources:
        mem_mb=resource("train_lens_arm", "mem_mb", 4000),
        runtime=resource("train_lens_arm", "runtime", 240),
        gpu=needs_gpu(),
    message:
        "Training on {wildcards.dataset}: {wildcards.arm}, seed {wildcards.seed}"
    script:
        "scripts/train_lens_arm.py"


rule time_lenses:
    input:
        slide=lambda wildcards: [ROWS[s].path for s in shown_slide()],
        tiles=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=shown_slide()),
    output:
        times="<results>/studies/multi_lens/step_times.tsv",
    log:
        "<logs>/time_lenses.log",
    benchmark:
        "<benchmarks>/time_lenses.tsv"
    conda:
        "../../../envs/train.yaml"
    params:
        slide=lambda wildcards: shown_slide()[0],
        mpp=lambda wildcards: ROWS[shown_slide()[0]].mpp,
        tile_mpp=config["tiles"]["mpp"],
        settings={k: MULTI_LENS[k] for k in ("architecture", "options", "multi_lens", "strength", "augment", "cost")},
        classifier={k: LENS_TIMED[k] for k in ("architecture", "options", "augment")} if LENS_RUNS else None,
        seed=config["seed"],
        code=lambda wildcards: study_code("multi_lens", "time_lenses", registry.module_of(LENS_TIMED["architecture"])),
    # All cores: nothing else of this workflow may run beside a measurement.
    threads: workflow.resource_settings.cores or 8
    resources:
        mem_mb=resource("time_lenses", "mem_mb", 6000),
        runtime=resource("time_lenses", "runtime", 60),
        gpu=needs_gpu(),
    message:
        "Timing training with and without lenses"
    script:
        "scripts/time_lenses.py"


rule draw_lens_grid:
    input:
        slide=lambda wildcards: [ROWS[s].path for s in shown_slide()],
        tiles=lambda wildcards: expand("<results>/slides/{slide}/tiles.parquet", slide=shown_slide()),
    output:
        grid="<results>/studies/multi_lens/figures/grid.png",
    log:
        "<logs>/draw_lens_grid.log",
    benchmark:
        "<benchmarks>/draw_lens_grid.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        slide=lambda wildcards: shown_slide()[0],
        mpp=lambda wildcards: ROWS[shown_slide()[0]].mpp,
        tile_mpp=config["tiles"]["mpp"],
        lenses=MULTI_LENS["multi_lens"],
        picture=MULTI_LENS["picture"],
        seed=config["seed"],
        code=lambda wildcards: study_code("multi_lens", "draw_lens_grid"),
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "Drawing lenses on a grid"
    script:
        "scripts/draw_lens_grid.py"


rule report_multi_lens:
    input:
        outcomes=[f"{path}.json" for path in LENS_OUTCOMES],
        predictions=[f"{path}.tsv" for path in LENS_OUTCOMES],
        times="<results>/studies/multi_lens/step_times.tsv",
        measured=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/metrics.json", run=LENS_RUNS, slide=slides_in("test") if LENS_RUNS else []
        ),
        grid="<results>/studies/multi_lens/figures/grid.png",
        published=str(RESOURCES / "published/drunet_multi_lens.tsv"),
        template=str(STUDIES_FOLDER / "multi_lens/page.md.j2"),
    output:
        **LENS_RESULTS,
        metrics="<results>/studies/multi_lens/metrics.tsv",
        section="<results>/studies/multi_lens/section.json",
        page=report("<results>/studies/multi_lens/report.html", category="Studies"),
    log:
        "<logs>/report_multi_lens.log",
    benchmark:
        "<benchmarks>/report_multi_lens.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        settings=MULTI_LENS,
        networks={
            network: {r: largest_strength(config["classifiers"][config["runs"][r]["classifier"]]) for r in runs}
            for network, runs in LENS_NETWORKS.items()
        },
        runs=LENS_RUNS,
        refiners=[config["runs"][run]["refiner"] for run in LENS_RUNS],
        timed={k: LENS_TIMED[k] for k in ("architecture", "options", "augment")},
        slides=lambda wildcards: ([s for s in measured_rows(wildcards) if s["split"] == "test"] if LENS_RUNS else []),
        measure={k: config["measure"][k] for k in ("threshold", "bootstrap")},
        seed=config["seed"],
        code=lambda wildcards: study_code("multi_lens", "make_page"),
    resources:
        mem_mb=resource("report_multi_lens", "mem_mb", 2000),
        runtime=resource("report_multi_lens", "runtime", 10),
    message:
        "Writing the page of study_multi_lens"
    script:
        "scripts/make_page.py"
