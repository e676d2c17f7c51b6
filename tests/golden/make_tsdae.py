"""The denoising auto-encoder loss of sentence-transformers on two golden directories: writes expected_tsdae.json.

Run it with an interpreter that has sentence-transformers 6.x: python tests/golden/make_tsdae.py. What the decoder has of
its own is not drawn but set by ``fill``, which the test repeats. Texts with words deleted are given, not drawn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
CASES = ("pooling_mean", "roberta_mean")
TEXTS = ["a man is playing a guitar.", "two dogs run", "the woman", "두 남자가 걷는다 the dog and the man"]
LEFT = ["man guitar.", "run", "the woman", "두 the dog man"]


def fill(decoder: Any) -> None:
    """Every weight of a decoder that no encoder has: numbers that depend on its name and place alone."""
    with torch.no_grad():
        for name, weight in decoder.named_parameters():
            if "crossattention" in name or ".cls." in f".{name}" or name.startswith("lm_head."):
                places = torch.arange(weight.numel(), dtype=torch.float64)
                weight.copy_((0.4 * torch.sin(1.7 * places + len(name))).reshape(weight.shape))


def main() -> None:
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]
    from sentence_transformers.losses import DenoisingAutoEncoderLoss  # type: ignore[import-not-found]

    out: dict[str, Any] = {"texts": TEXTS, "left": LEFT}
    for case in CASES:
        folder = str(HERE / case / "model")
        model = SentenceTransformer(folder, device="cpu")
        loss = DenoisingAutoEncoderLoss(model, decoder_name_or_path=folder, tie_encoder_decoder=True).eval()
        fill(loss.decoder)
        value = loss([model.preprocess(LEFT), model.preprocess(TEXTS)], None)
        value.backward()
        encoder, decoder = model[0].auto_model, loss.decoder
        weights = {"encoder": encoder.named_parameters(), "decoder": decoder.named_parameters()}
        known = {id(p) for p in encoder.parameters()}
        norms = {
            f"{part}.{name}": round(p.grad.norm().item(), 7)
            for part, named in weights.items()
            for name, p in named
            if p.grad is not None and (part == "encoder" or id(p) not in known)
        }
        out[case] = {"loss": round(value.item(), 7), "gradient_norms": norms}
    (HERE / "expected_tsdae.json").write_text(
        json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf8"
    )


if __name__ == "__main__":
    main()
