"""python -m sbert.applications COMMAND ...: see sbert/applications/flags.py for the commands and their flags."""

import sys
from collections.abc import Sequence

from data.examples import DataError
from sbert.applications.flags import parse
from sbert.errors import RunError, UsageError


def main(argv: Sequence[str]) -> int:
    try:
        args = parse(argv)
        from sbert.applications.commands import run

        print(run(args))
    except UsageError as error:
        print(f"applications: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"applications: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("applications: interrupted", file=sys.stderr)
        code = 130
    raise SystemExit(code)
