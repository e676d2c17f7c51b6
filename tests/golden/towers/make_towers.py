"""Write the golden two-tower directories, and check them with sentence-transformers: two interpreters, three commands.

    python tests/golden/towers/make_towers.py write FOLDER          # with this project's
    PEER/bin/python tests/golden/towers/make_towers.py embed FOLDER # with one that has sentence-transformers
    python tests/golden/towers/make_towers.py check FOLDER          # ours against it; exit code 1 above 1e-6

FOLDER is tests/golden/towers for the case that is committed, or any other folder. ``write`` makes ``<case>/model`` from
tiny random weights; ``embed`` loads it as a SentenceTransformer and writes what encode_query and encode_document give to
``<case>/expected.json``; ``check`` compares. The case ``two_towers`` alone is committed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent
TOLERANCE = 1e-6
# name -> the golden directories (of sentence-transformers) whose weights and modules the towers take
CASES = {
    "two_towers": "prompts_query",
    "dense_normalize": "dense_identity_normalize",
    "prompt_not_pooled": "prompt_not_pooled",
    "default_prompt": "prompts_document",
    "left_padding": "left_padding_prompt",
    "roberta": "roberta_mean",
    "truncate_dim": "truncate_dim",
    "legacy": "legacy_cls_max_dense",
}


def write(folder: Path) -> None:
    sys.path.insert(0, str(GOLDEN.parent.parent))
    import torch

    from sbert.towers import TwoTowers

    for case in CASES if folder != HERE else ["two_towers"]:
        towers = TwoTowers.from_start(GOLDEN / CASES[case] / "model")
        torch.manual_seed(0)
        with torch.no_grad():  # so that a tower taken for the other shows
            for parameter in towers.query.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        towers.description.similarity = "dot"
        towers.save_pretrained(folder / case / "model")


def texts() -> list[str]:
    found: list[str] = json.loads((GOLDEN / "prompts_query" / "expected.json").read_text("utf8"))["texts"]
    return found


def embed(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

    for path in sorted(folder.glob("*/model")):
        model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        lines = [
            f'"texts": {json.dumps(texts(), ensure_ascii=False)}',
            f'"similarity": "{model.similarity_fn_name}"',
        ]
        for kind, encode in (("query", model.encode_query), ("document", model.encode_document)):
            rows = [json.dumps([round(x, 8) for x in row]) for row in encode(texts()).tolist()]
            lines.append(f'"{kind}": [\n' + ",\n".join(rows) + "\n]")
        (path.parent / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf8")


def check(folder: Path) -> int:
    sys.path.insert(0, str(GOLDEN.parent.parent))
    from sbert.towers import load_bi_encoder

    worst = 0.0
    for path in sorted(folder.glob("*/expected.json")):
        expected: dict[str, Any] = json.loads(path.read_text("utf8"))
        towers = load_bi_encoder(path.parent / "model")
        for kind, encode in (("query", towers.encode_query), ("document", towers.encode_document)):
            difference = float(np.abs(encode(expected["texts"]) - np.array(expected[kind])).max())
            worst = max(worst, difference)
            print(f"{path.parent.name:20} {kind:10} {difference:.1e}  {expected['similarity']}")
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    commands = {"write": write, "embed": embed, "check": check}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        raise SystemExit(__doc__)
    raise SystemExit(commands[sys.argv[1]](Path(sys.argv[2]).resolve()))
