"""The two ways a run can fail on purpose. Both are printed as one line; neither shows a traceback."""


class UsageError(Exception):
    """Wrong, unknown or contradictory flags: exit code 2, before anything is loaded."""


class RunError(Exception):
    """Files, weights, disk, numbers: exit code 1."""
