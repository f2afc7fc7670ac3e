"""The CT set that the workflow draws itself, for studies that are given no images."""

CT_SET = f"{DEMO}/ct"
CT_DRAWING = yaml.safe_load((STUDIES_FOLDER / "common/drawing/ct.yaml").read_text(encoding="utf-8"))
