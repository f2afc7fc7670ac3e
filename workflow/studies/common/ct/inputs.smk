"""The CT set that the workflow draws itself, for studies that are given no images."""

CT_SET = f"{DEMO}/ct"
CT_DRAWING = merging.read_yaml(STUDIES_FOLDER / "common/drawing/ct.yaml")
