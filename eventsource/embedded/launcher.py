"""Becomes a server process, once its supervisor has written down its id. Run as a script, by path, without site-packages.

Without it a supervisor killed between starting a server and recording it would leave a server that nobody knows. Here the
process exists and is recorded first; it turns into the server (same id, same start time) when it reads `go`. If the
supervisor is gone instead, it reads the end of the file and leaves.

As root it also takes on the unprivileged account that Postgres insists on. `--keep` lets that account pass the folders
which only root may enter (a checkout in /root): see `keep_reach`.

With `--private` all files that the server makes are its account's alone.

usage: launcher.py [--private] [--uid UID --gid GID [--keep read|override]] -- COMMAND ARGUMENT…
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> None:
    """Waits for the word on standard input, then replaces this process by the command."""
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    word = bytearray()
    while not word.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(0)
        word += byte
    if word != b"go\n":
        sys.exit(f"launcher: expected 'go', got {bytes(word)!r}")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    if "--private" in options:
        os.umask(0o077)
    if "--uid" in options:
        uid = int(options[options.index("--uid") + 1])
        gid = int(options[options.index("--gid") + 1])
        become(uid, gid, options[options.index("--keep") + 1] if "--keep" in options else "")
    os.execv(command[0], command)  # noqa: S606 (no shell is wanted)


def become(uid: int, gid: int, keep: str) -> None:
    """Takes on another account for good, with `keep_reach` if asked."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    if keep:
        keep_reach(uid, keep)
    else:
        os.setresuid(uid, uid, uid)
    os.umask(0o077)


def keep_reach(uid: int, keep: str) -> None:
    """Takes on `uid` but keeps one Linux capability (capabilities(7)): `read`, to enter and read any folder, or `override`.

    The alternative, opening root's home to everybody, would change the machine for good. CAP_DAC_READ_SEARCH is the
    smallest that does it, but containers usually grant only CAP_DAC_OVERRIDE, and only that one runs a program that is
    executable for root alone. SECBIT_NO_SETUID_FIXUP makes access(2), with which Postgres looks for its own program, honour
    the capability, and lets it outlive the change of account.
    """
    import ctypes

    set_securebits, ambient, ambient_raise, bounding_read = 28, 47, 2, 23
    override, read_search = 1, 2
    no_setuid_fixup = 1 << 2
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")

    may_read = libc.prctl(bounding_read, read_search, 0, 0, 0) == 1
    capability = read_search if keep == "read" and may_read else override
    check(libc.prctl(set_securebits, no_setuid_fixup, 0, 0, 0), "setting secure bits")
    os.setresuid(uid, uid, uid)
    bits = 1 << capability
    # struct __user_cap_header_struct (version 3, this process) and two __user_cap_data_struct.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
    check(libc.capset(header, data), "setting capabilities")
    check(libc.prctl(ambient, ambient_raise, capability, 0, 0), "raising an ambient capability")


if __name__ == "__main__":
    main(sys.argv[1:])
