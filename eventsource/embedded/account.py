"""Which account Postgres runs under. It refuses to run as root, so root's stack runs it as an unprivileged account."""

from __future__ import annotations

import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eventsource.errors import EmbeddedStackMisused

# Postgres needs an account that exists in the user database. `nobody` is on every Linux and macOS; making one, as the
# package's own API does with useradd, would change the machine.
_UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """An account to change to, and the Linux capability that it keeps, if any: see `launcher.keep_reach`."""

    uid: int
    gid: int
    keep: Literal["", "read", "override"]

    @property
    def launcher_options(self) -> list[str]:
        keep = ["--keep", self.keep] if self.keep else []
        return ["--uid", str(self.uid), "--gid", str(self.gid), *keep]


def account_for(folder: Path, program: Path) -> Account | None:
    """Returns the account for a server that runs `program` on `folder`, or None: stay the user that we are.

    Raises `EmbeddedStackMisused` if we are root and there is no way for another account.
    """
    if os.geteuid() != 0:
        return None
    entry = _entry()
    executable = bool(program.stat().st_mode & stat.S_IXOTH)
    closed = (
        closed_folder(folder, entry.pw_gid) or closed_folder(program, entry.pw_gid) or (None if executable else program)
    )
    if closed is not None and sys.platform != "linux":
        raise EmbeddedStackMisused(
            f"Postgres does not run as root, and {_UNPRIVILEGED!r} cannot reach {closed}: start as another user, "
            f"or let others reach it with chmod o+x {closed}"
        )
    keep: Literal["", "read", "override"] = "" if closed is None else "read" if executable else "override"
    return Account(entry.pw_uid, entry.pw_gid, keep)


def account_group() -> int | None:
    """The group that must be able to pass the data folder, or None: Postgres runs as the user that we are.

    Raises `EmbeddedStackMisused` if we are root and there is no other account.
    """
    return _entry().pw_gid if os.geteuid() == 0 else None


def _entry() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_UNPRIVILEGED)
    except KeyError as error:
        raise EmbeddedStackMisused(
            f"Postgres does not run as root, and there is no account {_UNPRIVILEGED!r} to run it as: start as another user"
        ) from error


def closed_folder(path: Path, group: int) -> Path | None:
    """The first folder on the way to `path` that others, of this group, may not enter."""
    resolved = path.resolve()
    for folder in reversed([resolved, *resolved.parents]):
        if not folder.is_dir():
            continue
        found = folder.stat()
        if not found.st_mode & (stat.S_IXGRP if found.st_gid == group else stat.S_IXOTH):
            return folder
    return None
