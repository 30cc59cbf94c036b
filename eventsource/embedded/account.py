"""Which account Postgres runs under. It refuses to run as root, so root's stack runs it as an unprivileged account."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eventsource.errors import EmbeddedStackError

# Postgres needs an account that exists in the user database. `nobody` is on every Linux and macOS; making one, as the
# package's own API does with useradd, would change the machine.
_UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """An account to change to. `keep_reach`: a folder on the way is closed to it, see `launcher.read_anywhere`."""

    uid: int
    gid: int
    keep_reach: bool

    @property
    def launcher_options(self) -> list[str]:
        reach = ["--keep-reach"] if self.keep_reach else []
        return ["--uid", str(self.uid), "--gid", str(self.gid), *reach]


def account_for(paths: Iterable[Path]) -> Account | None:
    """Returns the account for a server that must reach `paths`, or None: stay the user that we are.

    Raises `EmbeddedStackError` if we are root and there is no way for another account.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError as error:
        raise EmbeddedStackError(
            f"Postgres does not run as root, and there is no account {_UNPRIVILEGED!r} to run it as: start as another user"
        ) from error
    closed = next((folder for path in paths if (folder := _closed_folder(path)) is not None), None)
    if closed is not None and sys.platform != "linux":
        raise EmbeddedStackError(
            f"Postgres does not run as root, and {_UNPRIVILEGED!r} cannot enter {closed}: start as another user, "
            f"or let others pass it with chmod o+x {closed}"
        )
    return Account(entry.pw_uid, entry.pw_gid, keep_reach=closed is not None)


def _closed_folder(path: Path) -> Path | None:
    """The first folder on the way to `path` that others may not enter."""
    resolved = path.resolve()
    for folder in reversed([resolved, *resolved.parents]):
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None
