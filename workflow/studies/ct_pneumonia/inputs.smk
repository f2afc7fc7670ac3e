"""The CT images of this study and what is known of them."""

PNEUMONIA = study("ct_pneumonia")
# What the drawn set has for each key of `collect`.
CT_IMAGES = {
    "root": f"{CT_SET}/classifier",
    "annotations": f"{CT_SET}/classifier_annotation",
    "sources": f"{CT_SET}/classifier_sources.tsv",
}


def ct_images(key):
    """An input function: a path that `collect` names under `key`, or the drawn set's."""

    def path(wildcards):
        named = PNEUMONIA["collect"]
        return named[key] if named["root"] else CT_IMAGES[key]

    return path


def ct_draw(wildcards):
    """What is drawn of a user's files, and by which seed; nothing where all are taken, as of the drawn set."""
    named = PNEUMONIA["collect"]
    if not named["root"] or not (any(named["draw"].values()) or named["balance"]):
        return None
    return {"draw": named["draw"], "balance": named["balance"], "seed": config["seed"]}


def ct_content(wildcards):
    """State of a user's files: one that is added or replaced in place is noticed. DICOM files need no suffix."""
    named = PNEUMONIA["collect"]
    return [content_state(named[key], None, None) for key in ("root", "annotations") if named["root"] and named[key]]
