"""Cancer against pneumonia on CT slices, and a probe of the source: `snakemake --cores N study_ct_pneumonia`."""


include: "inputs.smk"


PNEUMONIA_TASK = next(iter(image_tasks.tasks_of(PNEUMONIA)))
# Those that see whole images, and the training that their maps are of.
PNEUMONIA_NETWORKS = image_tasks.explained_networks(PNEUMONIA, PNEUMONIA_TASK)
PNEUMONIA_TRIAL = image_tasks.shown_trial(image_tasks.tasks_of(PNEUMONIA)[PNEUMONIA_TASK])
PNEUMONIA_ARMS = f"<results>/studies/ct_pneumonia/{PNEUMONIA_TASK}"


rule study_ct_pneumonia:
    input:
        "<results>/studies/ct_pneumonia/report.html",


rule collect_ct_images:
    input:
        drawn=[] if PNEUMONIA["collect"]["root"] else CT_SET,
        sources=PNEUMONIA["collect"]["sources"] or [],
    output:
        folder=directory("<results>/studies/ct_pneumonia/collected"),
        sources="<results>/studies/ct_pneumonia/sources.tsv",
        boxes="<results>/studies/ct_pneumonia/boxes.tsv",
        unreadable="<results>/studies/ct_pneumonia/uncollected.tsv",
        facts="<results>/studies/ct_pneumonia/collected.json",
    log:
        "<logs>/collect_ct_images.log",
    benchmark:
        "<benchmarks>/collect_ct_images.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        root=ct_images("root"),
        annotations=ct_images("annotations"),
        sources=ct_images("sources"),
        classes=image_tasks.classes_of(PNEUMONIA),
        window=PNEUMONIA["collect"]["window"],
        max_unreadable=PNEUMONIA["collect"]["max_unreadable"],
        draw=ct_draw,
        content=ct_content,
        code=lambda wildcards: study_code("ct_pneumonia", "collect_ct_images"),
    resources:
        mem_mb=resource("collect_ct_images", "mem_mb", 2000),
        runtime=resource("collect_ct_images", "runtime", 120),
    message:
        "Writing the CT images of ct_pneumonia as grey pictures"
    script:
        "scripts/collect_ct_images.py"


rule map_ct_attention:
    input:
        images="<results>/studies/ct_pneumonia/collected",
        boxes="<results>/studies/ct_pneumonia/boxes.tsv",
        answers=expand(f"{PNEUMONIA_ARMS}/{{arm}}/predictions.parquet", arm=PNEUMONIA_NETWORKS),
        predictions=f"{PNEUMONIA_ARMS}/{{arm}}/predictions.parquet",
        facts=f"{PNEUMONIA_ARMS}/{{arm}}/training.json",
        weights=f"{PNEUMONIA_ARMS}/{{arm}}/weights",
    output:
        maps=f"{PNEUMONIA_ARMS}/{{arm}}/maps.npz",
        coverage=f"{PNEUMONIA_ARMS}/{{arm}}/coverage.tsv",
        chosen=f"{PNEUMONIA_ARMS}/{{arm}}/chosen.tsv",
    log:
        "<logs>/map_ct_attention/{arm}.log",
    benchmark:
        "<benchmarks>/map_ct_attention/{arm}.tsv"
    wildcard_constraints:
        arm="|".join(map(re.escape, PNEUMONIA_NETWORKS)),
    conda:
        "../../../envs/train.yaml"
    params:
        trial=PNEUMONIA_TRIAL,
        positive=PNEUMONIA["positive"],
        options={key: value for key, value in PNEUMONIA["attention"].items() if key not in ("layer", "layers_of")},
        layer=lambda wildcards: PNEUMONIA["attention"]["layer"].get(wildcards.arm),
        layers=lambda wildcards: PNEUMONIA["attention"]["layers_of"].get(wildcards.arm),
        code=lambda wildcards: study_code(
            "ct_pneumonia", "map_ct_attention", image_tasks.module_of(PNEUMONIA, f"{PNEUMONIA_TASK}/{wildcards.arm}")
        ),
    resources:
        mem_mb=resource("map_ct_attention", "mem_mb", 6000),
        runtime=resource("map_ct_attention", "runtime", 60),
    message:
        "Mapping where {wildcards.arm} sees evidence for cancer"
    script:
        "scripts/map_ct_attention.py"


rule draw_ct_attention:
    input:
        maps=expand(f"{PNEUMONIA_ARMS}/{{arm}}/maps.npz", arm=PNEUMONIA_NETWORKS),
        chosen=f"{PNEUMONIA_ARMS}/{PNEUMONIA_NETWORKS[0]}/chosen.tsv",
    output:
        last="<results>/studies/ct_pneumonia/figures/attention_last.png",
        layers="<results>/studies/ct_pneumonia/figures/attention_layers.png",
        averages="<results>/studies/ct_pneumonia/figures/attention_averages.png",
    log:
        "<logs>/draw_ct_attention.log",
    benchmark:
        "<benchmarks>/draw_ct_attention.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        labels=[PNEUMONIA["arms"][arm]["label"] for arm in PNEUMONIA_NETWORKS],
        code=lambda wildcards: study_code("ct_pneumonia", "draw_ct_attention"),
    resources:
        mem_mb=resource("draw_ct_attention", "mem_mb", 4000),
        runtime=resource("draw_ct_attention", "runtime", 20),
    message:
        "Drawing where the networks see evidence for cancer"
    script:
        "scripts/draw_ct_attention.py"


rule report_ct_pneumonia:
    input:
        images="<results>/studies/ct_pneumonia/images.tsv",
        groups="<results>/studies/ct_pneumonia/groups.json",
        collected="<results>/studies/ct_pneumonia/collected.json",
        predictions=of_arms("ct_pneumonia", "predictions.parquet"),
        facts=of_arms("ct_pneumonia", "training.json"),
        histories=of_arms("ct_pneumonia", "history.tsv", image_tasks.networks_of),
        coverage=expand(f"{PNEUMONIA_ARMS}/{{arm}}/coverage.tsv", arm=PNEUMONIA_NETWORKS),
        maps=rules.draw_ct_attention.output,
        template=str(STUDIES_FOLDER / "ct_pneumonia/page.md.j2"),
        partials=IMAGE_PARTIALS,
        published=str(STUDIES_FOLDER / "ct_pneumonia/published.tsv"),
    output:
        metrics="<results>/studies/ct_pneumonia/metrics.tsv",
        section="<results>/studies/ct_pneumonia/section.json",
        page=report("<results>/studies/ct_pneumonia/report.html", category="Studies"),
    log:
        "<logs>/report_ct_pneumonia.log",
    benchmark:
        "<benchmarks>/report_ct_pneumonia.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        # `snakemake --report` copies these.
        settings=study_settings.without_paths(PNEUMONIA),
        arms=arm_keys("ct_pneumonia"),
        networks=arm_keys("ct_pneumonia", image_tasks.networks_of),
        explained=[f"{PNEUMONIA_TASK}/{arm}" for arm in PNEUMONIA_NETWORKS],
        trial=PNEUMONIA_TRIAL,
        seed=config["seed"],
        code=lambda wildcards: study_code("ct_pneumonia", "make_page"),
    resources:
        mem_mb=resource("report_ct_pneumonia", "mem_mb", 4000),
        runtime=resource("report_ct_pneumonia", "runtime", 30),
    message:
        "Writing the page of ct_pneumonia"
    script:
        "scripts/make_page.py"
