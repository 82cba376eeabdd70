"""So that no child outlives its parent, however that ends."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent():
    """Between fork and exec of a child."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
