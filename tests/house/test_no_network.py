"""What keeps the tests offline does so: no way out of this process, nor out of one that a test starts."""

import socket
import subprocess
import sys
import urllib.request

import pytest

from helpers.no_network import is_here, is_own

# An address for documentation (RFC 5737): nothing would answer.
AWAY = ("192.0.2.1", 9)


def udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


WAYS = {
    "connect": lambda: socket.socket().connect(AWAY),
    "connect_ex": lambda: socket.socket().connect_ex(AWAY),
    "connect of IPv6": lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 9)),
    "create_connection": lambda: socket.create_connection(AWAY, 0.1),
    "sendto": lambda: udp().sendto(b"x", AWAY),
    "sendto with flags": lambda: udp().sendto(b"x", 0, AWAY),
    "sendmsg": lambda: udp().sendmsg([b"x"], [], 0, AWAY),
    "connect of UDP": lambda: udp().connect(AWAY),
    "getaddrinfo": lambda: socket.getaddrinfo("example.com", 80),
    "gethostbyname": lambda: socket.gethostbyname("example.com"),
    "gethostbyname_ex": lambda: socket.gethostbyname_ex("example.com"),
    "gethostbyaddr": lambda: socket.gethostbyaddr("192.0.2.1"),
    "urllib": lambda: urllib.request.urlopen("http://example.com/", timeout=0.1),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_no_way_out(way):
    with pytest.raises(AssertionError, match="a test reaches out to"):
        WAYS[way]()


def test_no_way_out_for_the_libraries():
    import requests

    with pytest.raises(AssertionError, match="a test reaches out to"):
        requests.get("http://example.com/", timeout=0.1)


CODE = """
import socket
for way in (
    lambda: socket.socket().connect(("192.0.2.1", 9)),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
    lambda: socket.getaddrinfo("example.com", 80),
):
    try:
        way()
    except OSError as error:
        print(error.strerror)
"""


def test_no_way_out_of_a_process_that_a_test_starts():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.count("a process of a test reaches out to") == 3


def test_this_machine_is_reached():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        client.sendall(b"here")
        assert accepted.recv(4) == b"here"
        accepted.close()
    assert socket.getaddrinfo("localhost", 80)
    with udp() as one, udp() as two:
        one.bind(("127.0.0.1", 0))
        two.sendto(b"x", one.getsockname())
        assert one.recv(1) == b"x"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", None, "", b"localhost")),
        *((host, False) for host in ("10.0.0.1", "localhost.evil.com", "127.0.0.1.nip.io", "::ffff:8.8.8.8")),
    ],
)
def test_what_is_here(host, here):
    assert is_here(host) == here
    assert is_own(host) or not here
    assert not is_own("192.0.2.1")
