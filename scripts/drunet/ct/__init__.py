"""Computed tomography: DICOM slices, windows, Pascal VOC boxes, and their conversion into plain pictures."""
