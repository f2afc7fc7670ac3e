"""Write the JSON schema that editors check config.yaml with, from the models that the workflow checks it with."""

import json
from pathlib import Path

from drunet.settings.config import Configuration
from drunet.settings.schema import for_editors

text = json.dumps(for_editors(Configuration), indent=1, ensure_ascii=False)
Path(__file__).with_name("config.schema.json").write_text(text + "\n", encoding="utf-8")
