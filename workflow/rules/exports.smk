"""Formats for other programs and for the eye: each a rule of its own, and none that another rule waits for."""

# Files of each format in `export.formats`: of a slide and run, and of a run as a whole. A new format is a rule below, its
# files here and its name in the settings; nothing that comes before runs again.
SLIDE_EXPORTS = {
    "geojson": ["segmentation.geojson"],
    "geojson_gz": ["segmentation.geojson.gz"],
    "qupath_tiles": ["tiles.geojson.gz"],
    "pictures": ["overlay.jpg", "heatmap.jpg"],
    "ome_tiff": ["segmentation.ome.tif", "probability.ome.tif"],
    "dicom_seg": ["segmentation.dcm"],
}
RUN_EXPORTS = {
    "ro_crate": ["ro-crate.zip"],
    "model_card": ["model_card.md"],
    "qupath": ["qupath/project.qpproj"],
    "fastpathology": ["fastpathology"],
}

# Settings of a model that decide what it answers, beside its file.
RUN_WITH = ("channels_last", "scale", "tumour_index", "mpp", "stain_normalisation", "encoder")


rule export_geojson:
    input:
        status="<results>/slides/{slide}/status.json",
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        refiner=run_refiner("export.json"),
        mask="<results>/runs/{run}/{slide}/segmentation.png",
    output:
        outline="<results>/runs/{run}/{slide}/segmentation.geojson",
    log:
        "<logs>/export_geojson/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_geojson/{run}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        parent=config["export"].get("parent", False),
        code=lambda wildcards: code("export_geojson"),
    resources:
        mem_mb=resource("export_geojson", "mem_mb", 2000),
        runtime=resource("export_geojson", "runtime", 10),
    message:
        "Exporting the outlines of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/export_geojson.py"


rule export_geojson_gz:
    input:
        outline="<results>/runs/{run}/{slide}/segmentation.geojson",
    output:
        outline="<results>/runs/{run}/{slide}/segmentation.geojson.gz",
    log:
        "<logs>/export_geojson_gz/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_geojson_gz/{run}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        code=lambda wildcards: code("export_geojson_gz"),
    resources:
        mem_mb=resource("export_geojson_gz", "mem_mb", 1000),
        runtime=resource("export_geojson_gz", "runtime", 10),
    message:
        "Compressing the outlines of {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/export_geojson_gz.py"


rule export_qupath_tiles:
    input:
        status="<results>/slides/{slide}/status.json",
        heatmap=run_classifier_heatmap,
    output:
        tiles="<results>/runs/{run}/{slide}/tiles.geojson.gz",
    log:
        "<logs>/export_qupath_tiles/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_qupath_tiles/{run}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        code=lambda wildcards: code("export_qupath_tiles"),
    resources:
        mem_mb=resource("export_qupath_tiles", "mem_mb", 2000),
        runtime=resource("export_qupath_tiles", "runtime", 10),
    message:
        "Exporting the heatmap of {wildcards.slide} in run {wildcards.run} as tiles for QuPath"
    script:
        "../../scripts/export_qupath_tiles.py"


rule export_qupath:
    input:
        script=str(RESOURCES / "viewers/import_run.groovy"),
        outlines=for_each_slide("<results>/runs/{run}/{slide}/segmentation.geojson"),
        statuses=for_usable("<results>/slides/{slide}/status.json"),
    output:
        project="<results>/runs/{run}/qupath/project.qpproj",
        script="<results>/runs/{run}/qupath/scripts/import_{run}.groovy",
    log:
        "<logs>/export_qupath/{run}.log",
    benchmark:
        "<benchmarks>/export_qupath/{run}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        slides=lambda wildcards: [[s, ROWS[s].path] for s in usable_slides()],
        code=lambda wildcards: code("export_qupath"),
    resources:
        mem_mb=resource("export_qupath", "mem_mb", 1000),
        runtime=resource("export_qupath", "runtime", 10),
    message:
        "Writing a QuPath project of run {wildcards.run}"
    script:
        "../../scripts/export_qupath.py"


rule export_fastpathology:
    input:
        template=str(RESOURCES / "viewers/pipeline.fpl.j2"),
        classifier=run_classifier("model.onnx"),
        facts=run_classifier("export.json"),
        refiner=run_refiner("model.onnx"),
        refiner_facts=run_refiner("export.json"),
        heatmaps=for_each_slide(run_classifier_heatmap),
        masks=for_each_slide("<results>/runs/{run}/{slide}/segmentation.tif"),
    output:
        folder=directory("<results>/runs/{run}/fastpathology"),
    log:
        "<logs>/export_fastpathology/{run}.log",
    benchmark:
        "<benchmarks>/export_fastpathology/{run}.tsv"
    conda:
        "../../envs/infer.yaml"
    params:
        slides=lambda wildcards: [[s, ROWS[s].path] for s in usable_slides()],
        tiles=config["tiles"],
        white_distance=config["tissue"]["white_distance"],
        settings=lambda wildcards: {
            k: v
            for k, v in settings_of(config["runs"][wildcards.run]["classifier"]).items()
            if k in ("channels_last", "scale", "tumour_index")
        },
        refined=lambda wildcards: bool(config["runs"][wildcards.run]["refiner"]) or is_clustered(wildcards.run),
        code=lambda wildcards: code("export_fastpathology"),
    resources:
        mem_mb=resource("export_fastpathology", "mem_mb", 4000),
        runtime=resource("export_fastpathology", "runtime", 60),
    message:
        "Writing pipelines and a project of run {wildcards.run} for FastPathology"
    script:
        "../../scripts/export_fastpathology.py"


rule draw_slide_pictures:
    input:
        slide=slide_file,
        annotation="<results>/slides/{slide}/annotation.parquet",
        heatmap=run_classifier_heatmap,
        mask="<results>/runs/{run}/{slide}/segmentation.png",
    output:
        overlay=report(
            "<results>/runs/{run}/{slide}/overlay.jpg",
            caption="../report/overlay.rst",
            category="Slides",
            labels={"slide": "{slide}", "run": "{run}", "picture": "segmentation"},
        ),
        heatmap=report(
            "<results>/runs/{run}/{slide}/heatmap.jpg",
            caption="../report/heatmap.rst",
            category="Slides",
            labels={"slide": "{slide}", "run": "{run}", "picture": "heatmap"},
        ),
    log:
        "<logs>/draw_slide_pictures/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/draw_slide_pictures/{run}/{slide}.tsv"
    group:
        "segment_slide"
    conda:
        "../../envs/data.yaml"
    params:
        mpp=slide_mpp,
        overlay_px=config["report"]["overlay_px"],
        code=lambda wildcards: code("draw_slide_pictures"),
    resources:
        mem_mb=resource("draw_slide_pictures", "mem_mb", 3000),
        runtime=resource("draw_slide_pictures", "runtime", 20),
    message:
        "Drawing {wildcards.slide} in run {wildcards.run}"
    script:
        "../../scripts/draw_slide_pictures.py"


rule export_ome_tiff:
    input:
        heatmap=run_classifier_heatmap,
        refined=run_refined,
        mask="<results>/runs/{run}/{slide}/segmentation.tif",
    output:
        mask="<results>/runs/{run}/{slide}/segmentation.ome.tif",
        probability="<results>/runs/{run}/{slide}/probability.ome.tif",
    log:
        "<logs>/export_ome_tiff/{run}/{slide}.log",
    benchmark:
        "<benchmarks>/export_ome_tiff/{run}/{slide}.tsv"
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
