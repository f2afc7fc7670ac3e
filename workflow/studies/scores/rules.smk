SCORES = study("scores")
SCORES_FOLDER = f"{RESULTS}/studies/scores"


rule scoring_sheet:
    input:
        expand(
            "<results>/studies/scores/{reader}/{made}",
            reader=SCORES["readers"],
            made=["sheet.tsv", "cases", "instructions.html"],
        ),


rule study_scores:
    input:
        "<results>/studies/scores/report.html",


rule draw_case:
    input:
        slide=slide_file,
        mask="<results>/runs/{run}/{slide}/segmentation.tif",
    output:
        picture="<results>/studies/scores/pictures/{run}/{slide}.jpg",
    log:
        "<logs>/draw_case/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/draw_case/{run}/{slide}.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        longest=SCORES["picture_px"],
        code=lambda wildcards: study_code("scores", "draw_case"),
    resources:
        mem_mb=resource("draw_case", "mem_mb", 3000),
        runtime=resource("draw_case", "runtime", 20),
    message:
        "Drawing the outline of {wildcards.run} on {wildcards.slide} for the readers"
    script:
        "scripts/draw_case.py"


rule make_scoring_sheets:
    input:
        pictures=lambda wildcards: expand(
            "<results>/studies/scores/pictures/{run}/{slide}.jpg",
            run=SCORES["scored_runs"],
            slide=slides_in(SCORES["split"]),
        ),
        masks=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/segmentation.tif",
            run=SCORES["scored_runs"],
            slide=slides_in(SCORES["split"]),
        ),
        template=str(STUDIES_FOLDER / "scores/instructions.html.j2"),
    output:
        # Not deleted before the job runs: a sheet that was filled in here is found and kept.
        sheets=[update(f"{SCORES_FOLDER}/{reader}/sheet.tsv") for reader in SCORES["readers"]],
        cases=[directory(f"{SCORES_FOLDER}/{reader}/cases") for reader in SCORES["readers"]],
        instructions=[f"{SCORES_FOLDER}/{reader}/instructions.html" for reader in SCORES["readers"]],
        key="<results>/studies/scores/key.tsv",
    log:
        "<logs>/make_scoring_sheets.log",
    benchmark:
        "<benchmarks>/make_scoring_sheets.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        cases=lambda wildcards: [[run, slide] for run in SCORES["scored_runs"] for slide in slides_in(SCORES["split"])],
        readers=SCORES["readers"],
        repeats=SCORES["repeats"],
        seed=config["seed"],
        code=lambda wildcards: study_code("scores", "make_scoring_sheets"),
    resources:
        mem_mb=resource("make_scoring_sheets", "mem_mb", 2000),
        runtime=resource("make_scoring_sheets", "runtime", 20),
    message:
        "Making the readers' scoring sheets"
    script:
        "scripts/make_scoring_sheets.py"


rule read_scores:
    input:
        key="<results>/studies/scores/key.tsv",
        filled=list(SCORES["filled"].values()),
        measured=lambda wildcards: expand(
            "<results>/runs/{run}/{slide}/metrics.json",
            run=SCORES["scored_runs"],
            slide=slides_in(SCORES["split"]),
        ),
        published=str(RESOURCES / "published/drunet_facts.tsv"),
        template=str(STUDIES_FOLDER / "scores/page.md.j2"),
    output:
        scores="<results>/studies/scores/scores.tsv",
        metrics="<results>/studies/scores/metrics.tsv",
        figures=directory("<results>/studies/scores/figures"),
        section="<results>/studies/scores/section.json",
        page="<results>/studies/scores/report.html",
    log:
        "<logs>/read_scores.log",
    benchmark:
        "<benchmarks>/read_scores.tsv"
    conda:
        "../../../envs/data.yaml"
    params:
        cases=lambda wildcards: [[run, slide] for run in SCORES["scored_runs"] for slide in slides_in(SCORES["split"])],
        readers=SCORES["readers"],
        filled=list(SCORES["filled"]),
        code=lambda wildcards: study_code("scores", "make_page"),
    resources:
        mem_mb=resource("read_scores", "mem_mb", 1000),
        runtime=resource("read_scores", "runtime", 10),
    message:
        "Reading the pathologists' scores"
    script:
        "scripts/make_page.py"
