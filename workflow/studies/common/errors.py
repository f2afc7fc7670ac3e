"""Errors of the studies."""

from drunet.errors import DrunetError


class ImageSetError(DrunetError):
    """A folder of labelled images, or what is said about it, cannot be used."""


class CtError(DrunetError):
    """CT slices, their annotation or a window cannot be used; the message holds nothing that names a patient."""


class NoSliceError(CtError):
    """A sound DICOM file of another kind: another modality, a localiser, a dose sheet."""
