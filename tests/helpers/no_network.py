"""Only this machine can be reached: in the tests by a patch, in the processes that they start by `offline/`.

A test that tries fails with `AssertionError`; a process that a test starts gets an `OSError`, as without a network.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Holds a sitecustomize.py, which Python imports at its start from every folder of PYTHONPATH.
OFFLINE = Path(__file__).parent / "offline"
NAMES = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
SENDS = ("connect", "connect_ex", "sendto", "sendmsg")


def is_here(host: Any) -> bool:
    """Whether a name or address is this machine's loopback; None and "" are every address of this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if not host or host in ("localhost", "ip6-localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_own(host: Any) -> bool:
    """Whether a name or address is this machine's, by which processes of one machine (Ray) find each other."""
    if is_here(host) or host in ("0.0.0.0", "::", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host)
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (OSError, ValueError):
        return False
    return True


def block(
    put: Callable[[Any, str, Any], None], allowed: Callable[[Any], bool], refuse: Callable[[Any], Exception]
) -> None:
    """Replace what sends or asks for a name, by `setattr` or a patch of it."""

    def sends(real: Callable, at: int) -> Callable:
        def call(self: socket.socket, *given: Any, **named: Any) -> Any:
            # sendmsg without an address, and sendto on what is connected, go where connect went.
            address = given[at] if len(given) > abs(at) - (at < 0) else None
            if self.family in (socket.AF_INET, socket.AF_INET6) and address and not allowed(address[0]):
                raise refuse(address)
            return real(self, *given, **named)

        return call

    def asks(real: Callable) -> Callable:
        def call(host: Any, *given: Any, **named: Any) -> Any:
            if str(host).endswith(".invalid"):
                # As the name service would say, which need not be asked (RFC 2606).
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            if not allowed(host):
                raise refuse(host)
            return real(host, *given, **named)

        return call

    for name in SENDS:
        # (address), (bytes, [flags], address), (buffers, ancillary, flags, address)
        put(socket.socket, name, sends(getattr(socket.socket, name), {"sendto": -1, "sendmsg": 3}.get(name, 0)))
    for name in NAMES:
        put(socket, name, asks(getattr(socket, name)))


def refused_in_test(where: Any) -> Exception:
    return AssertionError(f"a test reaches out to {where}")


def refused_in_process(where: Any) -> Exception:
    return OSError(errno.ENETUNREACH, f"a process of a test reaches out to {where}")


def offline_path(paths: str) -> str:
    """PYTHONPATH with the folder that keeps a process offline."""
    return os.pathsep.join([str(OFFLINE), *filter(None, [paths])])
