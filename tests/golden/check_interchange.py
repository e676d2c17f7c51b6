"""The other half of interchange: directories written here, read by sentence-transformers.

    python tests/golden/check_interchange.py write /tmp/written       # with this project's interpreter
    PEER/bin/python tests/golden/check_interchange.py read /tmp/written   # with one that has sentence-transformers

``write`` loads every golden directory (and the packaged model, whole and cut), saves it again, and keeps our embeddings
beside it; ``read`` loads them with the peer and prints the largest difference. Exit code 1 above 1e-6.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-6


def call(model: Any, case: dict[str, Any]) -> np.ndarray:
    method = {"encode": model.encode, "query": model.encode_query, "document": model.encode_document}[
        case["kind"]
    ]
    options = {"prompt_name": case["prompt_name"]} if case.get("prompt_name") else {}
    return method(case["texts"], **options)


def write(folder: Path) -> None:
    sys.path.insert(0, str(HERE.parent.parent))
    from sbert.model import modelWithPooling

    cases = {
        path.parent.name: json.loads(path.read_text("utf8")) for path in sorted(HERE.glob("*/expected.json"))
    }
    models = {name: modelWithPooling.from_pretrained(HERE / name / "model") for name in cases}
    plain = {"kind": "encode", "texts": next(iter(cases.values()))["texts"]}
    for name, options in {
        "minilm": {},
        "minilm-4-layers-cls": {"num_layers": 4, "pooling_type": "cls", "normalize": False},
        "minilm-max-mean": {"pooling_type": ("max", "mean")},
    }.items():
        models[name], cases[name] = modelWithPooling.from_pretrained("minilm", **options), plain
    for name, model in models.items():
        model.save_pretrained(folder / name / "model")
        np.save(folder / name / "ours.npy", call(model, cases[name]))
        (folder / name / "case.json").write_text(json.dumps(cases[name], ensure_ascii=False), "utf8")
    print(f"{len(models)} directories in {folder}")


def read(folder: Path) -> int:
    from sentence_transformers import SentenceTransformer

    worst = 0.0
    for path in sorted(folder.glob("*/case.json")):
        model = SentenceTransformer(str(path.parent / "model"), device="cpu", local_files_only=True)
        theirs = call(model, json.loads(path.read_text("utf8")))
        difference = float(np.abs(theirs - np.load(path.parent / "ours.npy")).max())
        worst = max(worst, difference)
        print(f"{path.parent.name:32} {difference:.1e}")
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "read"):
        raise SystemExit(__doc__)
    raise SystemExit(write(Path(sys.argv[2])) if sys.argv[1] == "write" else read(Path(sys.argv[2])))
