"""Cross-encoders written here, read by sentence-transformers: check_interchange.py for the other kind of model.

    python tests/golden/check_cross_interchange.py write /tmp/written       # with this project's interpreter
    PEER/bin/python tests/golden/check_cross_interchange.py read /tmp/written   # one that has sentence-transformers

``write`` loads every directory of tests/golden/cross, saves it again (ELECTRA with the library's head and with
classificationHead), and the packaged model with a fresh native head, whole and cut; our scores stand beside each.
``read`` loads them with the peer and prints the largest difference. Exit code 1 above 1e-6.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-6


def write(folder: Path) -> None:
    sys.path.insert(0, str(HERE.parent.parent))
    import torch

    from sbert.cross_encoder import CrossEncoder

    torch.manual_seed(0)
    models = {}
    for path in sorted(HERE.glob("cross/*/model")):
        models[path.parent.name] = CrossEncoder.from_pretrained(path)
        if path.parent.name.startswith("electra"):
            name = f"{path.parent.name}_classification_head"
            models[name] = CrossEncoder.from_pretrained(path, head="classification")
    for layers, labels in ((None, 1), (2, 3)):
        name = f"minilm_{layers or 6}_layers_{labels}_labels"
        models[name] = CrossEncoder.from_pretrained(
            "minilm", head="native", num_layers=layers, num_labels=labels
        )
    pairs = json.loads((HERE / "cross" / "bert_1_label" / "expected.json").read_text("utf8"))["pairs"]
    pairs = [tuple(pair) for pair in pairs]
    for name, model in models.items():
        model.save_pretrained(folder / name / "model")
        np.save(folder / name / "ours.npy", model.predict(pairs))
        (folder / name / "pairs.json").write_text(json.dumps(pairs, ensure_ascii=False), "utf8")
    print(f"{len(models)} directories in {folder}")


def read(folder: Path) -> int:
    from sentence_transformers import CrossEncoder

    worst = 0.0
    for path in sorted(folder.glob("*/pairs.json")):
        model = CrossEncoder(str(path.parent / "model"), device="cpu", local_files_only=True)
        pairs = [tuple(pair) for pair in json.loads(path.read_text("utf8"))]
        theirs, ours = model.predict(pairs, show_progress_bar=False), np.load(path.parent / "ours.npy")
        difference = float(np.abs(theirs - ours).max()) if theirs.shape == ours.shape else float("nan")
        worst = max(worst, difference) if difference == difference else float("nan")
        print(f"{path.parent.name:42} {theirs.shape!s:8} {difference:.1e}")
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "read"):
        raise SystemExit(__doc__)
    raise SystemExit(write(Path(sys.argv[2])) if sys.argv[1] == "write" else read(Path(sys.argv[2])))
