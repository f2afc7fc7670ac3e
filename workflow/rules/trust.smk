"""Input functions of what says how sure a result is: calibration, uncertainty, appearance, bounds."""


def calibrating_slides():
    """Annotated slides that fit and judge a temperature; none without a validation slide to fit it on."""
    chosen = [s for s in measured_slides() if ROWS[s].split in ("val", "test")]
    return chosen if any(ROWS[s].split == "val" for s in chosen) else []


def calibrations(models):
    """Calibrations of some classifiers, as far as there are slides to make them from."""
    return [f"{RESULTS}/models/{m}/calibration.json" for m in models] if calibrating_slides() else []


def asked_calibration(wildcards):
    """The calibration of the run's classifier, where exports are to be calibrated; a refined map has none."""
    if not config["export"].get("calibrated", False):
        return []
    model = config["runs"][wildcards.run]["classifier"]
    if not calibrating_slides():
        raise no_plan("export.calibrated: no usable slide of split val is annotated. Mark one `val`, or write false.")
    return f"{RESULTS}/models/{model}/calibration.json"


def asked_uncertainty(wildcards):
    """The map of where the run's classifier is unsure, where outlines are to say it."""
    if not config["export"].get("uncertainty", False):
        return []
    model = config["runs"][wildcards.run]["classifier"]
    if encoder_of(model):
        raise no_plan(f"export.uncertainty: {model} is a head on an encoder, of which no map is made. Write false.")
    return f"{RESULTS}/uncertainty/{model}/{wildcards.slide}.tif"


def unrefined_calibration(wildcards):
    return [] if run_refined(wildcards) else asked_calibration(wildcards)


def bounding_slides(wildcards):
    """Slides, with their run, that bound what is wrong: whole outlines of test patients, whom no model saw."""
    chosen = [s for s in measured_slides() if (ROWS[s].split, ROWS[s].annotation_kind) == ("test", "wta")]
    return [SimpleNamespace(run=wildcards.run, slide=s) for s in chosen]


def known_slides(model):
    """Slides of the sheet that a classifier learnt from or was stopped by; none if that is not known."""
    if is_finished(model) or encoder_of(model):
        return []
    return [s for s in dict.fromkeys(training_slides(model) + validation_slides(model)) if s in ROWS]


def run_appearance(wildcards):
    """What the slides look like that the run's classifier learnt from; none if that is not known, nor for a cascade."""
    model = config["runs"][wildcards.run]["classifier"]
    if cascade_of(wildcards.run):
        return []
    if is_finished(model):
        return settings_of(model).get("appearance") or []
    return f"{RESULTS}/models/{model}/appearance.json" if known_slides(model) else []


def known_runs():
    """Runs of which it is known what their classifier learnt from."""
    return [each for run in RUNS if run_appearance(each := SimpleNamespace(run=run))]


def most_wrong(bound):
    """The share that a bound allows; None where none is asked for."""
    return config["measure"].get(BOUNDS[bound])


def bounds(runs):
    """Bounds of some runs, as far as they are asked for."""
    return [f"{RESULTS}/runs/{run}/{bound}.json" for run in runs for bound in BOUNDS if most_wrong(bound)]


def asked_bound(wildcards):
    if not most_wrong(wildcards.bound):
        raise no_plan(f"export.formats: `{wildcards.bound}` needs `measure.{BOUNDS[wildcards.bound]}`, say 0.1.")
    return f"{RESULTS}/runs/{wildcards.run}/{wildcards.bound}.json"
