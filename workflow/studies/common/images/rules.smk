"""Studies on folders of images: what is in them, what belongs together, and each arm trained, exported and timed."""


wildcard_constraints:
    study="|".join(IMAGE_STUDIES) or "(?!)",
    task=of_image_studies(lambda settings, task: [task]),


rule make_patch_set:
    output:
        folder=directory(DRAWN_PATCHES),
    log:
        "<logs>/make_patch_set.log",
    benchmark:
        "<benchmarks>/make_patch_set.tsv"
    conda:
        "../../../../envs/data.yaml"
    params:
        settings=PATCH_SET["drawing"],
        seed=PATCH_SET["seed"],
        code=lambda wildcards: study_code("common/images", "make_patch_set"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Drawing the embedded set of histology patches"
    script:
        "scripts/make_patch_set.py"


rule list_images:
    input:
        drawn=drawn_images,
        groups=image_groups,
        sources=image_sources,
    output:
        images="<results>/studies/{study}/images.tsv",
        unreadable="<results>/studies/{study}/unreadable.tsv",
        facts="<results>/studies/{study}/groups.json",
    log:
        "<logs>/list_images/{study}.log",
    benchmark:
        "<benchmarks>/list_images/{study}.tsv"
    conda:
        "../../../../envs/data.yaml"
    params:
        root=image_root,
        classes=image_classes,
        max_unreadable=lambda wildcards: image_study(wildcards)["images"]["max_unreadable"],
        near_duplicates=lambda wildcards: image_study(wildcards)["images"]["near_duplicates"],
        content=image_content,
        seed=config["seed"],
        code=lambda wildcards: study_code("common/images", "list_images"),
    threads: resource("list_images", "threads", 2)
    resources:
        mem_mb=resource("list_images", "mem_mb", 4000),
        runtime=resource("list_images", "runtime", 120),
    message:
        "Listing the images of {wildcards.study} and finding near-duplicates"
    script:
        "scripts/list_images.py"


rule train_image_arm:
    input:
        images="<results>/studies/{study}/images.tsv",
        drawn=drawn_images,
        teacher=image_teacher,
        weights=image_weights,
    output:
        predictions="<results>/studies/{study}/{task}/{arm}/predictions.parquet",
        history="<results>/studies/{study}/{task}/{arm}/history.tsv",
        facts="<results>/studies/{study}/{task}/{arm}/training.json",
        weights=directory("<results>/studies/{study}/{task}/{arm}/weights"),
    log:
        "<logs>/train_image_arm/{study}/{task}/{arm}.log",
    benchmark:
        "<benchmarks>/train_image_arm/{study}/{task}/{arm}.tsv"
    wildcard_constraints:
        arm=of_image_studies(image_tasks.networks_of),
    conda:
        "../../../../envs/train.yaml"
    params:
        root=image_root,
        arm=image_arm,
        task=image_trials,
        view=image_view,
        validation_share=lambda wildcards: image_study(wildcards)["validation_share"],
        lesson=image_lesson,
        keep=lambda wildcards: image_tasks.kept_trials(image_study(wildcards), wildcards.task, wildcards.arm),
        weights_digests=lambda wildcards: own_digests(image_weights(wildcards)),
        seed=config["seed"],
        code=lambda wildcards: study_code("common/images", "train_image_arm", image_arm_module(wildcards)),
    threads: resource("train_image_arm", "threads", 1)
    resources:
        mem_mb=resource("train_image_arm", "mem_mb", 6000),
        runtime=resource("train_image_arm", "runtime", 720),
        gpu=needs_gpu(),
    message:
        "Training {wildcards.arm} on {wildcards.task} ({wildcards.study})"
    script:
        "scripts/train_image_arm.py"


rule fit_prior_model:
    input:
        images="<results>/studies/{study}/images.tsv",
        drawn=drawn_images,
        facts=file_facts,
    output:
        predictions="<results>/studies/{study}/{task}/{arm}/predictions.parquet",
        facts="<results>/studies/{study}/{task}/{arm}/training.json",
    log:
        "<logs>/fit_prior_model/{study}/{task}/{arm}.log",
    benchmark:
        "<benchmarks>/fit_prior_model/{study}/{task}/{arm}.tsv"
    wildcard_constraints:
        arm=of_image_studies(
            lambda settings, task: set(image_tasks.arms_of(settings, task))
            - set(image_tasks.networks_of(settings, task))
        ),
    conda:
        "../../../../envs/data.yaml"
    params:
        root=image_root,
        classic=lambda wildcards: image_arm(wildcards)["classic"],
        task=image_trials,
        validation_share=lambda wildcards: image_study(wildcards)["validation_share"],
        seed=config["seed"],
        code=lambda wildcards: study_code("common/images", "fit_prior_model"),
    resources:
        mem_mb=resource("fit_prior_model", "mem_mb", 4000),
        runtime=resource("fit_prior_model", "runtime", 60),
    message:
        "Fitting {wildcards.arm} on {wildcards.task} ({wildcards.study})"
    script:
        "scripts/fit_prior_model.py"


rule export_image_arm:
    input:
        weights="<results>/studies/{study}/{task}/{arm}/weights",
        facts="<results>/studies/{study}/{task}/{arm}/training.json",
    output:
        models=directory("<results>/studies/{study}/{task}/{arm}/onnx"),
    log:
        "<logs>/export_image_arm/{study}/{task}/{arm}.log",
    benchmark:
        "<benchmarks>/export_image_arm/{study}/{task}/{arm}.tsv"
    wildcard_constraints:
        arm=of_image_studies(image_tasks.networks_of),
    conda:
        "../../../../envs/train.yaml"
    params:
        opset=config["export"]["opset"],
        code=lambda wildcards: study_code("common/images", "export_image_arm", image_arm_module(wildcards)),
    resources:
        mem_mb=resource("export_image_arm", "mem_mb", 4000),
        runtime=resource("export_image_arm", "runtime", 30),
    message:
        "Exporting {wildcards.arm} of {wildcards.task} ({wildcards.study}) to ONNX"
    script:
        "scripts/export_image_arm.py"


rule list_external:
    input:
        images="<results>/studies/{study}/images.tsv",
        drawn=drawn_images,
    output:
        images="<results>/studies/{study}/external.tsv",
        facts="<results>/studies/{study}/external.json",
    log:
        "<logs>/list_external/{study}.log",
    benchmark:
        "<benchmarks>/list_external/{study}.tsv"
    conda:
        "../../../../envs/data.yaml"
    params:
        root=image_root,
        external=lambda wildcards: image_study(wildcards)["images"]["external"],
        classes=external_classes,
        max_unreadable=lambda wildcards: image_study(wildcards)["images"]["max_unreadable"],
        near_duplicates=lambda wildcards: image_study(wildcards)["images"]["near_duplicates"],
        content=external_content,
        seed=config["seed"],
        code=lambda wildcards: study_code("common/images", "list_external"),
    threads: resource("list_external", "threads", 2)
    resources:
        mem_mb=resource("list_external", "mem_mb", 4000),
        runtime=resource("list_external", "runtime", 120),
    message:
        "Listing the second folder of images of {wildcards.study}"
    script:
        "scripts/list_external.py"


rule answer_external:
    input:
        weights="<results>/studies/{study}/{task}/{arm}/weights",
        facts="<results>/studies/{study}/{task}/{arm}/training.json",
        images="<results>/studies/{study}/external.tsv",
    output:
        answers="<results>/studies/{study}/{task}/{arm}/external.parquet",
    log:
        "<logs>/answer_external/{study}/{task}/{arm}.log",
    benchmark:
        "<benchmarks>/answer_external/{study}/{task}/{arm}.tsv"
    wildcard_constraints:
        arm=of_image_studies(image_tasks.networks_of),
    conda:
        "../../../../envs/train.yaml"
    params:
        external=lambda wildcards: image_study(wildcards)["images"]["external"],
        trial=lambda wildcards: image_tasks.shown_trial(image_task(wildcards)),
        code=lambda wildcards: study_code("common/images", "answer_external", image_arm_module(wildcards)),
    threads: resource("answer_external", "threads", 1)
    resources:
        mem_mb=resource("answer_external", "mem_mb", 4000),
        runtime=resource("answer_external", "runtime", 60),
    message:
        "Testing {wildcards.arm} of {wildcards.task} ({wildcards.study}) on the second folder of images"
    script:
        "scripts/answer_external.py"


rule time_image_arms:
    input:
        models=lambda wildcards: arm_files(wildcards.study, wildcards.task, "onnx", image_tasks.networks_of),
        facts=lambda wildcards: arm_files(wildcards.study, wildcards.task, "training.json", image_tasks.networks_of),
    output:
        cost="<results>/studies/{study}/{task}/cost.tsv",
    log:
        "<logs>/time_image_arms/{study}/{task}.log",
    benchmark:
        "<benchmarks>/time_image_arms/{study}/{task}.tsv"
    conda:
        "../../../../envs/infer.yaml"
    params:
        arms=lambda wildcards: image_tasks.networks_of(image_study(wildcards), wildcards.task),
        file=lambda wildcards: f"{image_tasks.shown_trial(image_task(wildcards))}.onnx",
        timing=lambda wildcards: image_study(wildcards)["timing"],
        engine=exact_engine(),
        code=lambda wildcards: study_code("common", "time_classifiers"),
    # Every core, whatever the networks use of them: a job beside it would be measured too.
    threads: workflow.resource_settings.cores or 8
    resources:
        mem_mb=resource("time_image_arms", "mem_mb", 4000),
        runtime=resource("time_image_arms", "runtime", 30),
        gpu=needs_gpu(),
    message:
        "Timing the networks of {wildcards.task} ({wildcards.study})"
    script:
        "../scripts/time_classifiers.py"
