"""Which slides a model learns from, and whose heatmaps a refiner may see.

A classifier whose training slides a refiner also needs is trained again without them: `dr_fused.fold0of2` is dr_fused
trained without the patients of fold 0, and its heatmaps are used for those patients' slides only.
"""

FOLD = re.compile(r"(?P<base>.+)\.fold(?P<fold>\d+)of(?P<folds>\d+)")


def settings_of(model):
    """Configuration of a classifier, a fold of one, or a refiner."""
    fold = FOLD.fullmatch(model)
    return {**config["classifiers"], **config["refiners"]}[fold["base"] if fold else model]


def is_finished(model):
    return "onnx" in settings_of(model)


def annotated_slides(split, kinds):
    return [s for s in usable_slides() if ROWS[s].split == split and ROWS[s].annotation_kind in kinds]


def base_training_slides(classifier):
    settings = settings_of(classifier)
    return [] if "onnx" in settings else annotated_slides("train", settings["data"]["annotation_kinds"])


def fold_of(classifier, slide):
    """Fold of a training slide's patient."""
    slides = base_training_slides(classifier)
    folds = settings_of(classifier)["data"]["cross_fit_folds"]
    try:
        assigned = cohort.patient_folds([ROWS[s].patient_id for s in slides], folds, config["seed"])
    except DrunetError as error:
        raise WorkflowError(str(error)) from None
    return assigned[ROWS[slide].patient_id], folds


def training_slides(model):
    fold = FOLD.fullmatch(model)
    if not fold:
        return base_training_slides(model)
    return [s for s in base_training_slides(fold["base"]) if fold_of(fold["base"], s)[0] != int(fold["fold"])]


def validation_slides(model):
    """Slides that decide when to stop: the validation split, of the kinds learnt from if it has such."""
    kinds = settings_of(model)["data"]["annotation_kinds"]
    return annotated_slides("val", kinds) or (annotated_slides("val", ["wta"]) if "psa" in kinds else [])


def unseen_by(classifier, slide):
    """The classifier, or the fold of it, that did not learn from this slide's patient."""
    patients = {ROWS[s].patient_id for s in base_training_slides(classifier)}
    if ROWS[slide].patient_id not in patients:
        return classifier
    own = [s for s in base_training_slides(classifier) if ROWS[s].patient_id == ROWS[slide].patient_id][0]
    fold, folds = fold_of(classifier, own)
    return f"{classifier}.fold{fold}of{folds}"


def learning_slides(wildcards):
    return training_slides(wildcards.model) + validation_slides(wildcards.model)


def learning_files(pattern):
    return lambda wildcards: expand(pattern, slide=learning_slides(wildcards))


def learning_paths(wildcards):
    return [ROWS[s].path for s in learning_slides(wildcards)]


def learning_annotations(wildcards):
    return [ROWS[s].annotation for s in learning_slides(wildcards)]


def learning_heatmaps(wildcards):
    """For every slide the heatmap of a classifier that did not learn from it."""
    classifier = settings_of(wildcards.model)["classifier"]
    return [f"{RESULTS}/heatmaps/{unseen_by(classifier, s)}/{s}.tif" for s in learning_slides(wildcards)]


def learning_rows(wildcards):
    return [{"slide_id": s, "mpp": ROWS[s].mpp, "kind": ROWS[s].annotation_kind} for s in learning_slides(wildcards)]


def training_count(wildcards):
    return len(training_slides(wildcards.model))


def starting_weights(wildcards):
    """Weight files that the configuration names: inputs, so that another file trains anew."""
    weights = settings_of(wildcards.model)["weights"]
    if isinstance(weights, str):
        return [] if weights in ("random", "imagenet") else weights
    return list(weights.values())


def architecture_module(model):
    return registry.module_of(settings_of(model)["architecture"])


def trained_names(*kinds):
    """A pattern of the models that are trained here, folds of classifiers included."""
    names = [re.escape(n) for kind in kinds for n, settings in config[kind].items() if "onnx" not in settings]
    folds = r"(\.fold\d+of\d+)?" if "classifiers" in kinds else ""
    return f"({'|'.join(names)}){folds}" if names else "(?!)"


def finished_names():
    """A pattern of the models that come as finished ONNX files."""
    both = {**config["classifiers"], **config["refiners"]}
    return "|".join(re.escape(n) for n, settings in both.items() if "onnx" in settings) or "(?!)"


def needs_gpu():
    return 1 if config["inference"]["provider"] in ("cuda", "tensorrt") else 0
