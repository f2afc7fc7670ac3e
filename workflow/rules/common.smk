"""Configuration and sample sheet, checked, and what every rule file needs of them."""

import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import yaml
from snakemake.exceptions import WorkflowError

# The library needs no installation: scripts find it beside themselves, and so does the workflow.
SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))
WORKFLOW = Path(workflow.basedir) / "workflow"
# The package `studies`; last, so that it hides no other.
sys.path.append(str(WORKFLOW))

from drunet import cohort, configuration, study_settings
from drunet.errors import DrunetError, closest
from drunet.fingerprint import fingerprint
from drunet.models import registry
from drunet.studies import box_tasks, image_tasks, network_table
from drunet.training import teaching

RESOURCES = Path(workflow.basedir) / "resources"


def checked_config():
    """The configuration without studies, the studies, and the configuration with the models of all that fit it."""
    try:
        if workflow.is_main_process:
            configuration.check_repeated_keys(workflow.configfiles)
        own = configuration.resolve_models(config)
        configuration.check_schema(own, SCHEMA)
        configuration.check_references(own)
        configuration.check_model_files(own)
        studies = read_studies(own)
        for name in own.get("studies", []):
            if studies[name].problem:
                raise WorkflowError(studies[name].problem)
        return own, studies, study_settings.with_studies(own, studies)
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


def read_studies(own):
    """The studies, each tried against the configuration `own`, which has none of their models yet."""
    folders = RESOURCES / "studies", WORKFLOW / "schemas/studies"
    studies = study_settings.load_studies(own, *folders, SCHEMA, demo_files())
    studies = {name: network_table.completed(study, RESOURCES) for name, study in studies.items()}
    return {name: box_tasks.checked(image_tasks.checked(study)) for name, study in studies.items()}


def checked_cohort():
    """The sheet's rows, and those that the studies lend."""
    try:
        rows = cohort.read_sheets(config["cohort"]["sheet"], config["cohort"]["root"])
        cohort.check_files(rows.values(), demo_files())
        lent = {}
        for study in STUDIES.values():
            lent = cohort.join_sheets(lent, study.rows, f"study_settings.{study.name}.learning_sheet")
        cohort.join_sheets(rows, lent, "study_settings")
        return rows, lent
    except DrunetError as error:
        raise WorkflowError(str(error)) from None


def demo_files():
    """Slides and annotations of the demo cohort, which the workflow makes itself."""
    return [f"{DEMO}/{s}{suffix}" for s in DEMO_SLIDES for suffix in (".tif", ".geojson")]


DEMO = "results/demo"
DEMO_SLIDES = list(cohort.read_sheets([str(p) for p in sorted((RESOURCES / "demo").glob("*.tsv"))], DEMO))
SCHEMA = yaml.safe_load((WORKFLOW / "schemas/config.schema.yaml").read_text(encoding="utf-8"))
OWN, STUDIES, EVERYTHING = checked_config()
RUNS = OWN["runs"]
config.update(EVERYTHING)
ROWS, LEARNING_ROWS = checked_cohort()
ALL_ROWS = {**ROWS, **LEARNING_ROWS}
RESULTS = config["results"]
ANNOTATED = [s for s, row in ROWS.items() if row.annotation]


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


wildcard_constraints:
    slide=cohort.ID_PATTERN,
    model=cohort.ID_PATTERN,
    run="|".join(map(re.escape, config["runs"])),


def row(wildcards):
    """The sheet's row of the slide in hand."""
    if wildcards.slide not in ALL_ROWS:
        raise WorkflowError(f"{wildcards.slide}: no such slide in the sheet {config['cohort']['sheet']}.")
    return ALL_ROWS[wildcards.slide]


def slide_file(wildcards):
    return row(wildcards).path


def annotation_file(wildcards):
    return row(wildcards).annotation or []


def slide_mpp(wildcards):
    return row(wildcards).mpp


def annotation_kind(wildcards):
    return row(wildcards).annotation_kind


@cache
def code(script, *modules):
    """Digest of the library code that a script reaches: editing a module reruns what depends on it, and no more.

    Rules ask for it in a function of their wildcards: every job's process reads all rules anew, and needs one digest.
    """
    return fingerprint(SCRIPTS / f"{script}.py", SCRIPTS, modules)


def resource(rule_name, key, default):
    return config.get("resources", {}).get(rule_name, {}).get(key, default)


def usable_slides():
    """IDs of the slides with status ok, in the sheet's order; known once `list_slides` has run."""
    table = pd.read_csv(checkpoints.list_slides.get().output.table, sep="\t", dtype=str, keep_default_na=False)
    ok = set(table.loc[table["status"] == "ok", "slide_id"])
    return [s for s in ROWS if s in ok]


def slides_in(split):
    """Usable annotated slides of a split."""
    return [s for s in measured_slides() if ROWS[s].split == split]


def shown_slide():
    """One slide to show something on: a test slide if there is one."""
    slides = (slides_in("test") + usable_slides())[:1]
    if not slides:
        raise WorkflowError(f"no slide of the cohort can be used; {RESULTS}/slides.tsv says why.")
    return slides


def study(name):
    """Settings of a study, without its models and runs."""
    return STUDIES[name].settings


def refuse(study):
    """An input function that ends in what keeps a study from being made."""

    def problem(_):
        targets = " and ".join(study.targets)
        raise WorkflowError(f"{targets} cannot be made with this configuration: {study.problem}")

    return problem


MISFITS = {}


def unless(misfit, name):
    """An input: nothing where a study fits its settings, else the function that ends in why it does not.

    `MISFITS` keeps the reason for `studies`, which leaves the study out.
    """
    if not misfit:
        return []
    MISFITS[name] = misfit
    return refuse(replace(STUDIES[name], problem=misfit))


@cache
def studies_with_ground():
    """Names of the studies that can be made; says which are left out, and why.

    One that would fit but for what `study_settings` say of it is a mistake, and ends in its message.
    """
    problems = {s.name: s.problem for s in STUDIES.values() if s.problem}
    changed = [name for name in problems if name in OWN.get("study_settings", {})]
    shipped = read_studies({**OWN, "study_settings": {}}) if changed else {}
    for name in changed:
        if study_settings.at_fault(STUDIES[name], shipped[name]):
            raise WorkflowError(problems[name])
    problems |= MISFITS
    for name, problem in problems.items():
        print(f"left out: {' and '.join(STUDIES[name].targets)}: {problem}", file=sys.stderr)
    return [name for name in STUDIES if name not in problems]


def for_usable(pattern, **wildcards):
    """An input function: `pattern` for every usable slide and, where given, for every value of other wildcards."""

    def paths(_):
        return expand(pattern, slide=usable_slides(), **wildcards)

    return paths


def run_classifier_heatmap(wildcards):
    return f"{RESULTS}/heatmaps/{config['runs'][wildcards.run]['classifier']}/{wildcards.slide}.tif"


def run_refiner(file):
    """A file of the run's refiner; none for a run that outlines the heatmap itself."""

    def path(wildcards):
        refiner = config["runs"][wildcards.run]["refiner"]
        return f"{RESULTS}/models/{refiner}/{file}" if refiner else []

    return path


def run_refined(wildcards):
    refined = f"{RESULTS}/runs/{wildcards.run}/{wildcards.slide}/refined.tif"
    return refined if config["runs"][wildcards.run]["refiner"] else []


def measured_slides():
    return [s for s in usable_slides() if ROWS[s].annotation]


def measured_rows(wildcards):
    """Slide, split, kind of annotation and a number per patient: patients are told apart, never named."""
    patients = {p: i for i, p in enumerate(dict.fromkeys(r.patient_id for r in ROWS.values()))}
    rows = [(s, ROWS[s]) for s in measured_slides()]
    return [
        {"slide": s, "split": r.split, "kind": r.annotation_kind, "patient": patients[r.patient_id]} for s, r in rows
    ]
