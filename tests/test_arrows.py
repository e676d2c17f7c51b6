"""The architecture, enforced: which package may import which, and what must stay quick or absent."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("losses", "heads", "data", "sbert", "experiments")
MAY_IMPORT = {"losses": set(), "heads": set(), "data": set(), "sbert": {"losses", "heads", "data"}}
FOREIGN = {"sentence_transformers", "sklearn", "accelerate", "datasets"}
PEERS = (
    ROOT / "experiments" / "peers"
)  # scripts for another library's interpreter, started and never imported
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))] + [
    ROOT / "train.py"
]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        wrong = imported(path) & (set(PACKAGES) | {"train"}) - {package} - MAY_IMPORT[package]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_losses_see_no_models_and_no_distributed_code() -> None:
    for path in (ROOT / "losses").rglob("*.py"):
        assert "transformers" not in imported(path)
        assert "torch.distributed" not in path.read_text(encoding="utf8")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_foreign_imports_and_a_docstring(path: Path) -> None:
    assert path.is_relative_to(PEERS) or not imported(path) & FOREIGN
    text = path.read_text(encoding="utf8")
    assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{path} does not say what it is for"


def test_flags_and_registry_are_torch_free() -> None:
    """--help and a mistyped flag answer before torch is imported."""
    code = "import sys, sbert.flag_parser, data.registry; sbert.flag_parser.build_parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
