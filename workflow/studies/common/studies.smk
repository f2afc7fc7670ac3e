"""The studies: their settings, the models and slides that they add, and what their rules share."""

from studies.common import study_settings
from studies.common.study_settings import MODEL_BLOCKS

forget_rule_folders()
STUDIES_FOLDER = WORKFLOW / "studies"


def checked_studies(own):
    """The studies by name, and the configuration with the models of all that fit it."""
    try:
        studies, everything = study_settings.load_studies(own, STUDIES_FOLDER, demo_files())
        for name in own.get("studies", []):
            if studies[name].problem:
                raise WorkflowError(studies[name].problem)
        return studies, everything
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


def lent_rows():
    """Slides that the studies' models learn from, by ID."""
    try:
        lent = {}
        for study in STUDIES.values():
            lent = study_settings.join_sheets(lent, study.rows, f"study_settings.{study.name}.learning_sheet")
        study_settings.join_sheets(ROWS, lent, "study_settings")
        return lent
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


STUDIES, EVERYTHING = checked_studies(OWN)
config.update({key: EVERYTHING[key] for key in MODEL_BLOCKS})
LEARNING_ROWS.update(lent_rows())
ALL_ROWS.update(LEARNING_ROWS)
SECTIONS += expand("<results>/studies/{study}/section.json", study=config["studies"])
PAGES += expand("<results>/studies/{study}/report.html", study=config["studies"])


def study(name):
    """Settings of a study, without its models and runs."""
    return STUDIES[name].settings


@cache
def study_code(folder, script, *modules):
    """Digest of the code and templates that a study's script reaches; `folder` is below `workflow/studies`."""
    return fingerprint(STUDIES_FOLDER / folder / "scripts" / f"{script}.py", (SCRIPTS, WORKFLOW), modules)


def refuse(study):
    """An input function that ends in what keeps a study from being made."""

    def problem(_):
        targets = " and ".join(study_settings.targets_of(study.name))
        raise no_plan(f"{targets} cannot be made with this configuration: {study.problem}")

    return problem


@cache
def available_studies():
    """Names of the studies that can be made; says which are left out, and why.

    One that would fit but for what `study_settings` say of it is a mistake, and ends in its message.
    """
    problems = {s.name: s.problem for s in STUDIES.values() if s.problem}
    changed = [name for name in problems if name in OWN.get("study_settings", {})]
    shipped = checked_studies({**OWN, "studies": [], "study_settings": {}})[0] if changed else {}
    for name in changed:
        if not shipped[name].problem:
            raise WorkflowError(problems[name])
    for name, problem in problems.items():
        print(f"left out: {' and '.join(study_settings.targets_of(name))}: {problem}", file=sys.stderr)
    return [name for name in STUDIES if name not in problems]


def slides_in(split):
    """Usable annotated slides of a split."""
    return [s for s in measured_slides() if ROWS[s].split == split]


def outlined_slides(*splits):
    """Usable slides of some splits whose whole tumour is outlined."""
    return [s for split in splits for s in slides_in(split) if ROWS[s].annotation_kind == "wta"]


def tile_layouts(arms):
    """How the classifiers of some arms want their tiles, as their settings say it."""
    return {name: tile_settings(arm["classifier"]) for name, arm in arms.items()}


def shown_slide():
    """One slide to show something on: a test slide if there is one."""
    slides = (slides_in("test") + usable_slides())[:1]
    if not slides:
        raise no_plan(f"no slide of the cohort can be used; {RESULTS}/slides.tsv says why.")
    return slides
