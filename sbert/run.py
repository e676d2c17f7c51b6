"""The run directory: config.json, metrics.json, a log, TensorBoard curves, model/, checkpoints/."""

import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from data.files import write_text_atomically
from sbert import distributed, ranks
from sbert.checkpoint import list_checkpoints
from sbert.errors import RunError, UsageError
from sbert.flag_checks import check_value
from sbert.flags import Flags
from sbert.jsonfile import read_json, to_json
from sbert.lock import FolderLock

log = logging.getLogger("sbert")
GIT = ("git", "--no-optional-locks")  # a status that is killed must not leave the checkout's index locked
FREE_ON_RESUME = {"resume", "data_dir", "threads", "log_steps", "save_limit", "eval_batch_tokens"}


def environment() -> dict[str, Any]:
    """Versions, machine and commit, for config.json: what somebody repeating the run has to know."""
    packages = ("torch", "transformers", "tokenizers", "numpy", "scipy", "safetensors")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: importlib.metadata.version(name) for name in packages},
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of the code, with "+changes" when the working tree differs; None outside a git checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        head, status = (
            subprocess.run([*GIT, "-C", str(root), *words], capture_output=True, text=True, timeout=10)
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if head.returncode or not (root / ".git").exists():
        return None
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")


class RunDirectory:
    """Paths of one run. ``create`` refuses a directory that already holds one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path, self.metrics_path = path / "config.json", path / "metrics.json"
        self.checkpoints = path / "checkpoints"
        self.held: FolderLock | None = None

    def lock(self) -> None:
        """Keeps other runs from writing here until this one ends; of several processes the first does, which alone writes.
        Raises RunError while another run does."""
        self.held = FolderLock(self.path) if ranks.is_first() else None

    @classmethod
    def create(cls, path: Path, *, unique: bool = False) -> "RunDirectory":
        """Makes the folder. unique: the name was made up, so a folder that exists gets a neighbour instead.

        Of several processes the first one makes it, and the others get its name.
        """
        made = cls._make(path, unique).path if ranks.is_first() else path
        return cls(Path(distributed.from_first(str(made))))

    @classmethod
    def _make(cls, path: Path, unique: bool) -> "RunDirectory":
        run = cls(path)
        run.refuse_second_run()
        try:
            path.mkdir(parents=True, exist_ok=not unique)
        except OSError as error:
            if unique and isinstance(
                error, FileExistsError
            ):  # a run of the same name, started in the same second
                return cls._make(path.with_name(f"{path.name}-{os.getpid()}"), unique=True)
            raise RunError(f"{path}: cannot be made: {error.strerror}") from None
        return run

    def refuse_second_run(self) -> None:
        """Raises UsageError when this directory already holds a run."""
        path = self.path
        if not ranks.is_first():
            return
        if path.exists() and not path.is_dir():
            raise RunError(f"{path}: cannot be made: it is a file")
        taken = [p for p in (path / "model", self.checkpoints) if p.exists()]
        if taken and not self.config_path.exists():
            raise UsageError(
                f"{path}: {taken[0].name}/ is there and is not of a run: choose another --output-dir"
            )
        if self.config_path.exists():
            raise UsageError(
                f"{path} already holds a run: --resume {path} continues it, "
                "another --output-dir starts a new one"
            )

    def write_config(self, flags: Flags, argv: list[str], **facts: Any) -> None:
        self.write(
            self.config_path, {"argv": argv, "flags": asdict(flags), "environment": environment(), **facts}
        )

    def write(self, path: Path, value: Any) -> None:
        """JSON, atomically. Raises RunError when the disk is full or the folder cannot be written."""
        if not ranks.is_first():
            return
        try:
            write_text_atomically(path, to_json(value))
        except OSError as error:
            raise RunError(
                f"{path}: cannot be written: {error.strerror or error}; what was there before is untouched"
            ) from None

    def note_resume(self, **facts: Any) -> None:
        """Adds to config.json that the run was gone on with, and by what: another commit or processor may round otherwise."""
        config = read_json(self.config_path)
        earlier = config.get("resumed", [])
        if not isinstance(earlier, list):
            raise RunError(f"{self.config_path}: resumed {earlier!r} is not a list")
        self.write(
            self.config_path,
            {**config, "resumed": [*earlier, {**facts, "environment": environment()}]},
        )

    def latest_checkpoint(self) -> Path | None:
        found = list_checkpoints(self.checkpoints)
        return found[-1] if found else None

    def log_to_file(self) -> None:
        """Plain lines into train.log, beside what the terminal shows."""
        if not ranks.is_first():
            return
        handler = logging.FileHandler(self.path / "train.log", encoding="utf8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)


def stored_flags(run: RunDirectory, flags: Flags, given: set[str]) -> Flags:
    """The flags of the run that is resumed. Raises UsageError when one given now says something else."""
    if not run.config_path.exists():
        raise RunError(f"--resume {run.path}: no config.json there, so no run to continue")
    stored = read_json(run.config_path).get("flags")
    if not isinstance(stored, dict):
        raise RunError(f"--resume {run.path}: its config.json is not that of a run")
    if stored.get("eval_only"):
        raise RunError(f"--resume {run.path}: that run only evaluated; there is no training to continue")
    processes = read_json(run.config_path).get("processes", 1)
    if type(processes) is not int:
        raise RunError(f"{run.config_path}: processes {processes!r} is not a number")
    if processes != ranks.count():
        how = f"torchrun --nproc-per-node {processes} train.py" if processes > 1 else "python train.py"
        raise UsageError(
            f"--resume {run.path}: was trained by {processes} process(es), here are {ranks.count()}, which draw "
            f"other dropout: {how} --resume {run.path}"
        )
    known = {f.name for f in fields(Flags)}
    for name in sorted(given - FREE_ON_RESUME):
        if stored.get(name) != getattr(flags, name):
            raise UsageError(
                f"--resume {run.path}: --{name.replace('_', '-')} was {stored.get(name)!r} and is now "
                f"{getattr(flags, name)!r}; a resumed run keeps its flags (start a new --output-dir)"
            )
    kept = {k: v for k, v in stored.items() if k in known}
    resumed = Flags(**{**kept, **{name: getattr(flags, name) for name in given & FREE_ON_RESUME}})
    check_stored(run.config_path, resumed)
    resumed.resume, resumed.output_dir = flags.resume, str(run.path)
    resumed.precision = read_json(run.config_path).get("precision", resumed.precision)  # what auto meant then
    return resumed


def check_stored(path: Path, flags: Flags) -> None:
    """Raises RunError for a value that no command line gives: somebody has written into config.json."""
    for f in fields(Flags):
        value, meta = getattr(flags, f.name), f.metadata
        default = f.default_factory() if callable(f.default_factory) else f.default
        many = bool(meta.get("nargs"))
        kind = bool if default is False else meta.get("type", str)
        allowed = (int, float) if kind is float else (kind,)
        fits = value is None and default is None
        fits |= many and isinstance(value, list) and all(type(one) in allowed for one in value)
        fits |= not many and type(value) in allowed
        if not fits:
            raise RunError(f"{path}: {f.name} {value!r} is not what train.py writes")
        try:
            check_value("--" + f.name.replace("_", "-"), value, meta)
        except UsageError as error:
            raise RunError(f"{path}: {error}") from None


def set_up_logging() -> None:
    """One plain line a message on standard error, through tqdm so that a progress bar is not torn."""
    from tqdm import tqdm

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tqdm.write(self.format(record), file=sys.stderr)

    handler = Handler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO if ranks.is_first() else logging.ERROR)
    log.propagate = False
