"""The slices of this study, their annotations, and files of its trainings."""

from studies.ct_boxes import tasks as box_tasks

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
