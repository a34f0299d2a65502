"""Which system calls of users' programs the kernel refuses, as the steps of a seccomp filter (BPF) that it runs.

The filter is made by who has time; `container.py` installs it. Refused are the calls for keys, which have no namespace:
a process of the same user links the user's keyrings to its own by their numbers. Refused are also ways to a port or to
another machine that no other rule sees (MPTCP, SMC, VSOCK, io_uring, the choice of the port that is given), and calls
of another processor (32 bits), whose arguments cannot be seen.
"""

import os
import struct
import sys

from localaws.programs.container import CALLS

NESTING = {  # pivot_root, mount, umount2, unshare and setns
    "x86_64": (155, 165, 166, 272, 308),
    "aarch64": (41, 40, 39, 97, 268),
}
NEW_MOUNTS = (428, 429, 430, 431, 432, 433, 442)  # open_tree to fspick and mount_setattr, the same on all
CLONE, LISTEN, SETSOCKOPT = (
    {"x86_64": 56, "aarch64": 220},
    {"x86_64": 50, "aarch64": 201},
    {"x86_64": 54, "aarch64": 208},
)
IO_URING_SETUP, CLONE3, X32 = 425, 435, 0x40000000
AF_VSOCK, AF_SMC, IPPROTO_MPTCP, SOL_IP, IP_LOCAL_PORT_RANGE = 40, 43, 262, 0, 51
NAMESPACES = 0x7E020000  # flags of clone
LOAD, IF_EQUAL, IF_AT_LEAST, IF_ANY, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, PROCESSOR, FIRST, SECOND, THIRD = 0, 4, 16, 24, 32  # places of what a call has: its number, its arguments
REFUSED = 0x00050000  # and the error: ENOSYS, EPROTONOSUPPORT, ENOPROTOOPT, EPERM
ENDS = {
    "allow": 0x7FFF0000,
    "no call": REFUSED | 38,
    "no protocol": REFUSED | 93,
    "no option": REFUSED | 92,
    "forbidden": REFUSED | 1,
}

Step = tuple[int, int, str, str]


def require_known_processor() -> None:
    """Return if the filter can be made here, or if this is not Linux, where there is none.

    Raises:
        OSError: this machine's processor is another one.
    """
    machine = os.uname().machine
    if sys.platform == "linux" and machine not in CALLS:
        known = " and ".join(sorted(CALLS))
        raise OSError(
            f"this machine's processor is {machine}, and the system calls to keep from users' programs are known for "
            f"{known} only; use such a machine, or an emulated one (docker run --platform linux/amd64)"
        )


def call_filter(*, nests: bool = True, listens: bool = True) -> bytes | None:
    """Return the filter for this processor; None where there is no Linux.

    `nests`: whether the program may make and enter namespaces, and mount things; if not, clone3, whose flags cannot be
    seen, is unknown to it, and programs use clone instead. `listens`: whether it may listen at a socket.

    Raises:
        OSError: as `require_known_processor`.
    """
    require_known_processor()
    if sys.platform != "linux":
        return None
    machine = os.uname().machine
    processor, keys, socket = CALLS[machine]
    unknown = (*keys, IO_URING_SETUP, *(() if nests else (CLONE3,)))
    forbidden = (*(() if nests else (*NESTING[machine], *NEW_MOUNTS)), *(() if listens else (LISTEN[machine],)))
    return _packed(
        (LOAD, PROCESSOR, "", ""),
        (IF_EQUAL, processor, "", "no call"),
        (LOAD, NUMBER, "", ""),
        (IF_AT_LEAST, X32, "no call", ""),
        *((IF_EQUAL, number, "no call", "") for number in unknown),
        *((IF_EQUAL, number, "forbidden", "") for number in forbidden),
        (IF_EQUAL, socket, "a socket", ""),
        (IF_EQUAL, SETSOCKOPT[machine], "an option", ""),
        (IF_EQUAL, CLONE[machine], "allow" if nests else "a process", "allow"),
        "a process",
        (LOAD, FIRST, "", ""),
        (IF_ANY, NAMESPACES, "forbidden", "allow"),
        "a socket",
        (LOAD, FIRST, "", ""),
        (IF_EQUAL, AF_SMC, "no protocol", ""),
        (IF_EQUAL, AF_VSOCK, "no protocol", ""),
        (LOAD, THIRD, "", ""),
        (IF_EQUAL, IPPROTO_MPTCP, "no protocol", "allow"),
        "an option",
        (LOAD, SECOND, "", ""),
        (IF_EQUAL, SOL_IP, "", "allow"),
        (LOAD, THIRD, "", ""),
        (IF_EQUAL, IP_LOCAL_PORT_RANGE, "no option", "allow"),
    )


def _packed(*lines: Step | str) -> bytes:
    """Return the steps as the kernel takes them; a text names the place of the step after it."""
    steps: list[Step] = []
    places: dict[str, int] = {}
    for line in (*lines, *(part for name, value in ENDS.items() for part in (name, (RETURN, value, "", "")))):
        if isinstance(line, str):
            places[line] = len(steps)
        else:
            steps.append(line)
    return b"".join(
        struct.pack("=HBBI", kind, *(places[each] - at - 1 if each else 0 for each in (yes, no)), value)
        for at, (kind, value, yes, no) in enumerate(steps)
    )
