"""Formats that are kept and passed on: OME-TIFF, DICOM, the provenance of a run, and the card of its models."""

# Settings of a model that decide what it answers, beside its file.
RUN_WITH = ("channels_last", "scale", "tumour_index", "mpp", "stain_normalisation", "encoder")


rule export_ome_tiff:
    input:
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        calibration=unrefined_calibration,
        mask="<results>/runs/{run}/{slide}/segmentation.tif",
    output:
        mask="<results>/runs/{run}/{slide}/segmentation.ome.tif",
        probability="<results>/runs/{run}/{slide}/probability.ome.tif",
    log:
        "<logs>/export_ome_tiff/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_ome_tiff/{run}/{slide}.tsv"
    priority: 4
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        unrefined_px=config["postprocess"]["unrefined_px"],
        code=lambda wildcards: code("export_ome_tiff"),
    resources:
        mem_mb=resource("export_ome_tiff", "mem_mb", 2000),
        runtime=resource("export_ome_tiff", "runtime", 10),
    message:
        "Writing OME-TIFF of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/export_ome_tiff.py"


rule export_dicom_seg:
    input:
        slide=slide_file,
        heatmap=run_classifier_heatmap,
        mask="<results>/runs/{run}/{slide}/segmentation.tif",
    output:
        segmentation="<results>/runs/{run}/{slide}/segmentation.dcm",
    log:
        "<logs>/export_dicom_seg/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_dicom_seg/{run}/{slide}.tsv"
    priority: 4
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        code=lambda wildcards: code("export_dicom_seg"),
    resources:
        mem_mb=resource("export_dicom_seg", "mem_mb", 3000),
        runtime=resource("export_dicom_seg", "runtime", 10),
    message:
        "Writing DICOM of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/export_dicom_seg.py"


rule digest_slide:
    input:
        slide=slide_file,
    output:
        digest="<results>/slides/{slide}/sha256.json",
    log:
        "<logs>/digest_slide/{slide}.log",
    benchmark:
        "<benchmarks>/digest_slide/{slide}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        slide_digest=lambda wildcards: own_digests(slide_file(wildcards), digests.ends_digest),
        code=lambda wildcards: code("digest_slide"),
    resources:
        mem_mb=resource("digest_slide", "mem_mb", 500),
        runtime=resource("digest_slide", "runtime", 30),
    message:
        "Digesting the file of {wildcards.slide}"
    script:
        "../../scripts/digest_slide.py"


rule export_ro_crate:
    input:
        workflow=str(SCRIPTS.parent / "Snakefile"),
        table="<results>/slides.tsv",
        models=run_models,
        refiner=run_smallest_tumour,
        digests=for_usable("<results>/slides/{slide}/sha256.json"),
        tissue=for_usable("<results>/slides/{slide}/tissue.png"),
        heatmap=for_each_slide(run_classifier_heatmap),
        refined=for_each_slide(run_refined),
        small=for_each_slide("<results>/runs/{run}/{slide}/segmentation.png"),
        mask=for_each_slide("<results>/runs/{run}/{slide}/segmentation.tif"),
    output:
        crate="<results>/runs/{run}/ro-crate.zip",
    log:
        "<logs>/export_ro_crate/{run}.log",
    benchmark:
        "<benchmarks>/export_ro_crate/{run}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings={k: config[k] for k in ("seed", "tissue", "tiles", "inference", "postprocess")},
        run=lambda wildcards: config["runs"][wildcards.run],
        # What a model is run with; its training is in its card, with paths that belong into no crate.
        models=lambda wildcards: {
            m: {k: v for k, v in settings_of(m).items() if k in RUN_WITH} for m in names_of_run(wildcards.run)
        },
        mpp=lambda wildcards: {s: ROWS[s].mpp for s in usable_slides()},
        own_area=lambda wildcards: [s for s, r in ROWS.items() if r.region or r.tissue],
        code=lambda wildcards: code("export_ro_crate"),
    resources:
        mem_mb=resource("export_ro_crate", "mem_mb", 2000),
        runtime=resource("export_ro_crate", "runtime", 60),
    message:
        "Writing the provenance of run {wildcards.run}"
    script:
        "../../scripts/export_ro_crate.py"


rule export_model_card:
    input:
        cards=lambda wildcards: [f"{RESULTS}/models/{m}/card.md" for m in names_of_run(wildcards.run)],
        models=run_models,
        summary="<results>/runs/{run}/summary.tsv",
        calibration=lambda wildcards: calibrations([config["runs"][wildcards.run]["classifier"]]),
    output:
        card="<results>/runs/{run}/model_card.md",
    log:
        "<logs>/export_model_card/{run}.log",
    benchmark:
        "<benchmarks>/export_model_card/{run}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        models=lambda wildcards: names_of_run(wildcards.run),
        code=lambda wildcards: code("export_model_card"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Writing the card of run {wildcards.run}"
    script:
        "../../scripts/export_model_card.py"
