"""One writer a folder: a lock on the folder itself, which the kernel takes back when the process ends, however it ends.

No file is left behind, so a killed run never has to be unlocked by hand.
"""

import errno
import os
from pathlib import Path

from sbert.errors import RunError

HELD = (errno.EWOULDBLOCK, errno.EACCES)  # what flock says of a folder that another process holds


class FolderLock:
    """Held from the moment it is made until ``close`` or the end of the process. Raises RunError while another process
    holds it, or where the folder cannot be opened.

    Where the system has no flock, or a network file system refuses it on folders, it holds nothing: two writers at once are
    the user's affair there.
    """

    def __init__(self, folder: Path) -> None:
        self.handle: int | None = None
        try:
            import fcntl
        except ImportError:  # not POSIX
            return
        try:
            self.handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            opened = self.handle is not None
            self.close()
            if error.errno in HELD and opened:
                raise RunError(
                    f"{folder}: another process is writing there: wait for it, or choose another folder"
                ) from None
            if not opened:
                raise RunError(f"{folder}: cannot be opened: {error.strerror}") from None

    def still_names(self, folder: Path) -> bool:
        """Whether the folder that is locked is the one that has this name now."""
        try:
            return self.handle is None or os.path.samestat(os.fstat(self.handle), os.stat(folder))
        except OSError:
            return False

    def close(self) -> None:
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    def __del__(self) -> None:
        self.close()
