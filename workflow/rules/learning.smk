"""Which slides a model learns from, and whose heatmaps a refiner may see.

A classifier whose training slides a refiner also needs is trained again without them: `dr_fused.fold0of2` is dr_fused
trained without the patients of fold 0, and its heatmaps are used for those patients' slides only.
"""


wildcard_constraints:
    run="|".join(map(re.escape, config["runs"])),


FOLD = re.compile(r"(?P<base>.+)\.fold(?P<fold>\d+)of(?P<folds>\d+)")


def settings_of(model):
    """Configuration of a classifier, a fold of one, or a refiner."""
    fold = FOLD.fullmatch(model)
    return {**config["classifiers"], **config["refiners"]}[fold["base"] if fold else model]


def learnt_settings(model):
    """Settings that a training depends on: all but the number of folds, each of which is a model with a name of its own."""
    settings = settings_of(model)
    return {**settings, "data": {k: v for k, v in settings["data"].items() if k != "cross_fit_folds"}}


def tile_settings(model):
    """How a classifier wants its tiles."""
    return {k: v for k, v in settings_of(model).items() if k in ("channels_last", "scale", "tumour_index")}


def classifier_file(model, precision):
    """The file of a classifier that is computed in this precision."""
    return f"{RESULTS}/models/{model}/{'int8' if precision == 'int8' else 'model'}.onnx"


def is_finished(model):
    return "onnx" in settings_of(model)


def is_kept(model):
    """Whether a model is taken as it came: nothing is learnt, whatever slides its settings name."""
    return not is_finished(model) and settings_of(model)["training"]["epochs"] == 0


def annotated_slides(split, kinds, cohorts=None):
    """Slides of a split, annotated in one of these ways; `cohorts` null: of the sheet, else of the cohorts of this name.

    Slides that a study lends are not sorted by a checkpoint, for Snakemake resolves but one: a bad one has no tiles, and
    training leaves it out with a word.
    """
    known = [*usable_slides(), *LEARNING_ROWS]
    chosen = [s for s in known if (s in ROWS if cohorts is None else ALL_ROWS[s].cohort in cohorts)]
    return [s for s in chosen if ALL_ROWS[s].split == split and ALL_ROWS[s].annotation_kind in kinds]


def checked_cohorts(model):
    """Names of the cohorts that a model learns from; a name that no slide bears ends in one message."""
    cohorts = settings_of(model)["data"]["cohorts"]
    known = {r.cohort for r in ALL_ROWS.values() if r.cohort}
    for name in cohorts or []:
        if name not in known:
            raise no_plan(
                f"data.cohorts of {model}: unknown cohort: {name}. {closest(name, known)} "
                "The sheet's column `cohort` names them."
            )
    return cohorts


@cache
def base_training_slides(classifier):
    if is_finished(classifier) or is_kept(classifier):
        return []
    kinds = settings_of(classifier)["data"]["annotation_kinds"]
    return annotated_slides("train", kinds, checked_cohorts(classifier))


@cache
def patient_folds(classifier):
    """Fold of every patient that a classifier learns from, and how many folds there are."""
    folds = settings_of(classifier)["data"]["cross_fit_folds"]
    patients = [ALL_ROWS[s].patient_id for s in base_training_slides(classifier)]
    try:
        return cohort.patient_folds(patients, folds, config["seed"]), folds
    except DrunetError as error:
        raise no_plan(str(error)) from None


def fold_of(classifier, slide):
    """Fold of a training slide's patient."""
    assigned, folds = patient_folds(classifier)
    return assigned[ALL_ROWS[slide].patient_id], folds


def training_slides(model):
    fold = FOLD.fullmatch(model)
    if not fold:
        return base_training_slides(model)
    return [s for s in base_training_slides(fold["base"]) if fold_of(fold["base"], s)[0] != int(fold["fold"])]


def validation_slides(model):
    """Slides that decide when to stop: the validation split, of the kinds that are asked for, or learnt from if it has
    such."""
    if is_kept(model):
        return []
    data, cohorts = settings_of(model)["data"], checked_cohorts(model)
    asked = data.get("validation_kinds")
    own = annotated_slides("val", asked or data["annotation_kinds"], cohorts)
    if asked and not own:
        raise no_plan(
            f"data.validation_kinds of {model}: no usable slide of split val is annotated so (found: {', '.join(asked)}). "
            "Mark one `val`, name the other kind, or write null."
        )
    return own or (annotated_slides("val", ["wta"], cohorts) if "psa" in data["annotation_kinds"] else [])


def validated_on_other_kinds(model):
    """Whether a trained classifier learns from one kind of annotation, and is stopped by another."""
    kinds = [] if is_finished(model) else settings_of(model)["data"]["annotation_kinds"]
    return bool(kinds) and any(ALL_ROWS[s].annotation_kind not in kinds for s in validation_slides(model))


def starting_model(model):
    """The trained model that a model starts from, if it is fine-tuned."""
    return references.start_of(settings_of(model).get("weights"))


@cache
def patients_seen(classifier):
    """Patients that a classifier, any model that it was fine-tuned from, or its teacher learnt from."""
    own = {ALL_ROWS[s].patient_id for s in base_training_slides(classifier)}
    return own.union(*(patients_seen(other) for other in taught_by(classifier)))


def taught_by(classifier):
    """The trained models whose knowledge a classifier begins with or is given."""
    others = [starting_model(classifier), references.teacher_of(settings_of(classifier))]
    return [other for other in others if other and not is_finished(other)]


def unseen_by(classifier, slide):
    """The classifier, or the fold of it, that did not learn from this slide's patient."""
    patient = ALL_ROWS[slide].patient_id
    if patient not in patients_seen(classifier):
        return classifier
    start = starting_model(classifier)
    if start and patient in patients_seen(start):
        raise no_plan(
            f"{classifier} starts from {start}, which learnt from the patient of {slide}: no heatmap of this slide can be "
            "made by a model that has not seen it. Let the two learn from different cohorts, or start anew."
        )
    own = [s for s in base_training_slides(classifier) if ALL_ROWS[s].patient_id == patient]
    if not own:
        teacher = references.teacher_of(settings_of(classifier))
        raise no_plan(
            f"{classifier} is taught by {teacher}, which learnt from the patient of {slide}: no heatmap of this slide can be "
            "made by a model that has not seen it. Let the two learn from the same cohorts."
        )
    fold, folds = fold_of(classifier, own[0])
    return f"{classifier}.fold{fold}of{folds}"


def ensemble_of(classifier):
    """A classifier, and its folds where a refiner has them made anyway."""
    refiners = {run["refiner"] for run in RUNS.values() if run["classifier"] == classifier and run["refiner"]}
    taught = [r for r in refiners if not is_finished(r) and not is_kept(r)]
    needed = {unseen_by(classifier, slide) for refiner in taught for slide in training_slides(refiner)}
    return [classifier, *sorted(needed - {classifier})]


def learning_slides(wildcards):
    model = wildcards.model
    training = training_slides(model)
    if not training and not is_kept(model):
        kinds = " or ".join(settings_of(model)["data"]["annotation_kinds"])
        raise no_plan(
            f"{model} has nothing to learn from: no usable slide of split train is {kinds} (slides.tsv in the results says "
            "what was left out). Mark slides `train`, annotate them so, change its `annotation_kinds`, or name a finished "
            "model."
        )
    return training + validation_slides(model)


def learning_files(pattern):
    return lambda wildcards: expand(pattern, slide=learning_slides(wildcards))


def learning_paths(wildcards):
    return [ALL_ROWS[s].path for s in learning_slides(wildcards)]


def learning_heatmaps(wildcards):
    """For every slide the heatmap of a classifier that did not learn from it."""
    classifier = settings_of(wildcards.model)["classifier"]
    return [f"{RESULTS}/heatmaps/{unseen_by(classifier, s)}/{s}.tif" for s in learning_slides(wildcards)]


def slide_stains(settings):
    """The file with a slide's stains, of a model that sees them normalised; none for any other."""
    return [f"{RESULTS}/slides/{{slide}}/stains.json"] if settings.get("stain_normalisation") else []


def learning_stains(wildcards):
    return expand(slide_stains(settings_of(wildcards.model)), slide=learning_slides(wildcards))


def learning_rows(wildcards):
    return [{"slide_id": s, "mpp": ALL_ROWS[s].mpp} for s in learning_slides(wildcards)]


def learning_scores(wildcards):
    """Induced imbalance: per training slide, the tiles as the first model sees them that did not learn from it.

    An accepted limit: that first model did learn from the patients whom a fold leaves out. It chooses which areas of the
    fold's own slides are hard, and no more: none of its weights are taken over.
    """
    first = settings_of(wildcards.model)["data"]["sampling"].get("first_model")
    if not first:
        return []
    slides = training_slides(wildcards.model)
    return [f"{RESULTS}/heatmaps/{unseen_by(first, s)}/{s}.parquet" for s in slides]


def teacher_model(model):
    """The classifier that a student learns from: for a fold of the student one that has not seen the slides left out."""
    fold = FOLD.fullmatch(model)
    teacher = references.teacher_of(settings_of(model))
    if not teacher or not fold or is_finished(teacher):
        return teacher
    left_out = [s for s in base_training_slides(fold["base"]) if fold_of(fold["base"], s)[0] == int(fold["fold"])]
    fit = {unseen_by(teacher, s) for s in left_out}
    if len(fit) > 1:
        raise no_plan(
            f"{model} is taught by {teacher}, no fold of which leaves out the same patients. Give both the same `data`."
        )
    return fit.pop()


def teacher_file(wildcards):
    teacher = teacher_model(wildcards.model)
    return f"{RESULTS}/models/{teacher}/model.onnx" if teacher else []


def teacher_layout(wildcards):
    """How a student's teacher wants its tiles; nothing for one that was trained here."""
    teacher = teacher_model(wildcards.model)
    return tile_settings(teacher) if teacher else {}


def training_count(wildcards):
    return len(training_slides(wildcards.model))


def starting_weights(wildcards):
    """Weight files that training starts from: inputs, so that another file trains anew."""
    start = starting_model(wildcards.model)
    if start:
        return f"{RESULTS}/models/{start}/weights.weights.h5"
    weights = settings_of(wildcards.model)["weights"]
    if isinstance(weights, str):
        return [] if weights in ("random", "imagenet") else weights
    return list(weights.values())


def architecture_module(model):
    return registry.module_of(settings_of(model)["architecture"])


def trained_names(*kinds):
    """A pattern of the models that are trained here as a whole, folds of classifiers included."""
    settings = {n: s for kind in kinds for n, s in config[kind].items()}
    return pattern([n for n, s in settings.items() if "onnx" not in s and "encoder" not in s], "classifiers" in kinds)


def pattern(names, folds=False):
    """A pattern of names, or of folds of them too; of nothing where there are none."""
    fold = r"(\.fold\d+of\d+)?" if folds else ""
    return f"({'|'.join(map(re.escape, names))}){fold}" if names else "(?!)"


def finished_names():
    """A pattern of the models that come as finished ONNX files."""
    return pattern([n for n, s in {**config["classifiers"], **config["refiners"]}.items() if "onnx" in s])


def quantising_slides(model):
    """The slides on whose tiles a classifier is brought to int8: its own, or those of the run if it learnt here from none.

    The first 16 will do, and keep the others free to be classified.
    """
    return (training_slides(model) or usable_slides())[:16]


def quantising_files(pattern):
    return lambda wildcards: expand(pattern, slide=quantising_slides(wildcards.model))


def cascade_of(run):
    """Settings of a run's cascade; None for a run whose classifier sees every tile."""
    return config["runs"][run].get("cascade")


def cascaded_names():
    """A pattern of the runs with a cascade."""
    return pattern([run for run in config["runs"] if cascade_of(run)])


def cascade_file(part):
    """The file of a cascade's student or teacher, in the precision that the cascade asks for."""

    def path(wildcards):
        settings = CascadeSettings.of(cascade_of(wildcards.run), f"runs.{wildcards.run}.cascade")
        if part == "student":
            return classifier_file(settings.student, settings.precision)
        return classifier_file(config["runs"][wildcards.run]["classifier"], settings.teacher_precision)

    return path


def band_slides(run):
    """The validation slides, on which a cascade's band is chosen."""
    slides = [s for s in usable_slides() if ROWS[s].split == "val"]
    if not slides:
        raise no_plan(
            f"runs.{run}.cascade: no usable slide is marked `val` in the sheet, and on such the cascade is held against its "
            "teacher. Mark one, annotated or not, or leave `cascade` out."
        )
    return slides


def band_files(pattern):
    return lambda wildcards: expand(pattern, slide=band_slides(wildcards.run))


def shown_slides():
    """The first usable slides, which show how a finished classifier judges tiles."""
    return usable_slides()[:3]
