"""Becomes another program, as another user if asked, and dies when its parent dies.

The supervisor runs this file by its path in the interpreter's isolated mode, so it starts in a few
milliseconds; it therefore imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    """Take "parent pid, death signal, uid, gid, enter closed folders" and the program with its arguments."""
    parent, death_signal, uid, gid, enter_closed_folders = (int(word) for word in arguments[0].split(","))
    if uid >= 0:
        become(uid, gid, enter_closed_folders=bool(enter_closed_folders))
    if sys.platform == "linux":
        # After the change of user, since the kernel forgets the signal then.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")
    try:
        os.execvp(arguments[1], arguments[1:])  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"{arguments[1]} can't be run: {error.strerror}")


def become(uid: int, gid: int, *, enter_closed_folders: bool) -> None:
    """Give up root for `uid`, keeping at most the right to pass through folders closed to others."""
    keep = enter_closed_folders and sys.platform == "linux"
    if keep:
        ctypes.CDLL(None).prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if keep and not keep_capability(CAP_DAC_READ_SEARCH):
        # Containers usually lack the narrower one.
        keep_capability(CAP_DAC_OVERRIDE)


def keep_capability(capability: int) -> bool:
    """Keep one capability of root across the next exec; return whether it worked."""
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if libc.capset(header, sets) != 0:
        return False
    return bool(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)


if __name__ == "__main__":
    main(sys.argv[1:])
