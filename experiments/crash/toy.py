"""What the jobs work on: a random encoder that takes a second to train, texts, and a server on this machine that is slow."""

import json
import os
import random
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK = 1 << 15  # bytes sent at a time
PAUSE = 0.002  # seconds between two blocks
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"
WORDS = (
    "man",
    "the",
    "horse",
    "rides",
    "plays",
    "guitar",
    "is",
    "red",
    "dog",
    "runs",
    "in",
    "park",
    "woman",
    "sings",
)


def save_tiny_model(folder: Path) -> None:
    """A BERT of two layers and width 32 with a tokenizer of single letters, as a plain Hugging Face directory."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*specials, *WORDS, *LETTERS, *("##" + letter for letter in LETTERS)]
    ids = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def write_corpus(path: Path, rows: int) -> None:
    """Short texts, a few of them twice."""
    draw = random.Random(0)
    with open(path, "w", encoding="utf8") as file:
        for number in range(rows):
            text = " ".join(draw.choices(WORDS, k=draw.randint(2, 12)))
            file.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")


class Slow(BaseHTTPRequestHandler):
    """Serves the files of a folder with ranges and an ETag, in small blocks with pauses."""

    folder = Path()

    def do_GET(self) -> None:
        content = (self.folder / Path(self.path).name).read_bytes()
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        try:
            for at in range(start, len(content), BLOCK):
                self.wfile.write(content[at : at + BLOCK])
                time.sleep(PAUSE)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever asked was killed

    def log_message(self, *args: object) -> None:
        pass


def serve(folder: Path) -> tuple[str, int]:
    """(address, process) of a server of that folder, in a fork that the caller ends."""
    Slow.folder = folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    pid = os.fork()
    if pid == 0:
        try:
            server.serve_forever(poll_interval=0.05)
        finally:
            os._exit(0)
    port = server.server_address[1]
    server.server_close()
    return f"http://127.0.0.1:{port}", pid
