"""What the rules of the CT studies need to know of their files."""

CT_SET = f"{DEMO}/ct"
CT_DRAWING = yaml.safe_load((RESOURCES / "demo/ct.yaml").read_text(encoding="utf-8"))
# Studies that turn a user's CT images into pictures before anything else, by name.
COLLECTING = {name: settings["collect"] for name, settings in IMAGE_STUDIES.items() if "collect" in settings}
# What the drawn set has for each key of `collect`.
CT_IMAGES = {
    "root": f"{CT_SET}/classifier",
    "annotations": f"{CT_SET}/classifier_annotation",
    "sources": f"{CT_SET}/classifier_sources.tsv",
}


def ct_images(key):
    """An input function: a path that `collect` names under `key`, or the drawn set's."""

    def path(wildcards):
        named = COLLECTING[wildcards.study]
        return named[key] if named["root"] else CT_IMAGES[key]

    return path


def ct_content(wildcards):
    """State of a user's files: one that is added or replaced in place is noticed. DICOM files need no suffix."""
    named = COLLECTING[wildcards.study]
    return [content_state(named[key], None, None) for key in ("root", "annotations") if named["root"] and named[key]]


BOXES = study("ct_boxes")


def box_folders():
    """Folders of the slices and of their annotations (None: among the slices): a user's, or the drawn set's."""
    given = BOXES["slices"]["root"]
    return (given, BOXES["slices"]["annotations"]) if given else (f"{CT_SET}/boxes", f"{CT_SET}/boxes_annotation")


def box_content(_):
    """State of a user's files: one that is added or replaced in place is noticed. DICOM files need no suffix."""
    return [content_state(folder, None, None) for folder in box_folders() if folder and BOXES["slices"]["root"]]


def of_box_arms(file):
    """A file of every training, in the order of `box_tasks.keys_of`."""
    return [f"{RESULTS}/studies/ct_boxes/{key}/{file}" for key in box_tasks.keys_of(BOXES)]
