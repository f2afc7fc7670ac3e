# Can something beside the tissue tell tumour from none in this cohort? `snakemake --cores N audit_cohort`

COHORT_AUDIT = study("cohort_audit")
COHORT_AUDIT_MODELS = [COHORT_AUDIT["classifier"]] if COHORT_AUDIT["classifier"] else []


rule audit_cohort:
    input:
        "<results>/studies/cohort_audit/report.html",


rule study_cohort_audit:
    input:
        "<results>/studies/cohort_audit/section.json",


rule look_at_slide:
    input:
        slide=slide_file,
        status="<results>/slides/{slide}/status.json",
        tissue="<results>/slides/{slide}/tissue.png",
        annotation="<results>/slides/{slide}/annotation.parquet",
        tiles="<results>/slides/{slide}/tiles.parquet",
    output:
        seen="<results>/studies/cohort_audit/slides/{slide}.json",
        colours="<results>/studies/cohort_audit/slides/{slide}.tsv",
    log:
        "<logs>/look_at_slide/{slide}.log",
    benchmark:
        "<benchmarks>/look_at_slide/{slide}.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        most=COHORT_AUDIT["tiles_per_slide"],
        seed=config["seed"],
        code=lambda wildcards: study_code("cohort_audit", "look_at_slide"),
    resources:
        mem_mb=resource("look_at_slide", "mem_mb", 3000),
        runtime=resource("look_at_slide", "runtime", 20),
    message:
        "Looking at what of {wildcards.slide} is no tissue"
    script:
        "scripts/look_at_slide.py"


rule shift_stains:
    input:
        slide=slide_file,
        tissue="<results>/slides/{slide}/tissue.png",
        tiles="<results>/slides/{slide}/tiles.parquet",
        model="<results>/models/{model}/model.onnx",
    output:
        answers="<results>/studies/cohort_audit/shifts/{model}/{slide}.tsv",
    log:
        "<logs>/shift_stains/{model}/{slide}.log",
    benchmark:
        "<benchmarks>/shift_stains/{model}/{slide}.tsv"
    conda:
        "../../../envs/infer.yaml"
    params:
        mpp=slide_mpp,
        most=COHORT_AUDIT["tiles_per_slide"],
        seed=config["seed"],
        engine=exact_engine(),
        layout=lambda wildcards: tile_settings(wildcards.model),
        code=lambda wildcards: study_code("cohort_audit", "shift_stains"),
    threads: resource("shift_stains", "threads", 8)
    resources:
        mem_mb=resource("shift_stains", "mem_mb", 3000),
        runtime=resource("shift_stains", "runtime", 30),
        gpu=needs_gpu(),
    message:
        "Changing the stain of tiles of {wildcards.slide} under {wildcards.model}"
    script:
        "scripts/shift_stains.py"


rule gather_audit:
    input:
        seen=for_usable("<results>/studies/cohort_audit/slides/{slide}.json"),
        colours=for_usable("<results>/studies/cohort_audit/slides/{slide}.tsv"),
        # Slides that no model learnt from, where there are some.
        shifts=lambda wildcards: expand(
            "<results>/studies/cohort_audit/shifts/{model}/{slide}.tsv",
            model=COHORT_AUDIT_MODELS,
            slide=slides_in("test") or usable_slides(),
        ),
        template=str(STUDIES_FOLDER / "cohort_audit/page.md.j2"),
    output:
        answers="<results>/studies/cohort_audit/answers.tsv",
        copies="<results>/studies/cohort_audit/copies.tsv",
        metrics="<results>/studies/cohort_audit/metrics.tsv",
        figure="<results>/studies/cohort_audit/figures/traits.png",
        section="<results>/studies/cohort_audit/section.json",
        page=report("<results>/studies/cohort_audit/report.html", category="Studies"),
    log:
        "<logs>/gather_audit.log",
    benchmark:
        "<benchmarks>/gather_audit.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        slides=lambda wildcards: [
            {"slide": s, "patient": patient_numbers()[s], "split": ROWS[s].split, "site": ROWS[s].cohort}
            for s in usable_slides()
        ],
        settings={k: COHORT_AUDIT[k] for k in ("alpha", "permutations", "copies", "classifier")},
        threshold=config["measure"]["threshold"],
        seed=config["seed"],
        code=lambda wildcards: study_code("cohort_audit", "make_page"),
    resources:
        mem_mb=resource("gather_audit", "mem_mb", 2000),
        runtime=resource("gather_audit", "runtime", 20),
    message:
        "Looking for shortcuts in the cohort"
    script:
        "scripts/make_page.py"
