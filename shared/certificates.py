"""TLS to a destination: what its `sslmode` asks for, and the CA that its server's certificate is checked with.

https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
"""

from __future__ import annotations

import os
import re
import ssl
import stat
from typing import Any

from cryptography import x509

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
NEEDS_TLS = frozenset({"require", "verify-ca", "verify-full"})
CHECKS_CA = frozenset({"verify-ca", "verify-full"})
LARGEST_CA = 256 * 1024  # characters
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
UNKNOWN_CA, WRONG_NAME, EXPIRED = frozenset({2, 18, 19, 20, 21}), frozenset({62, 63, 64}), frozenset({9, 10})


class _NamedContext(ssl.SSLContext):
    """A context for a server that is known by name while the connection goes to an address found before."""

    server_name = ""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Wrap with the name that the certificate has to be for."""
        return super().wrap_bio(*args, **(options | {"server_hostname": self.server_name}))


def make_context(host: str, sslmode: str, ca: str | None) -> ssl.SSLContext:
    """Return what a session with TLS is opened with; a CA that is given replaces the system's.

    With a CA `require` checks it too, as Postgres' own clients do.
    """
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = host
    context.check_hostname = sslmode == "verify-full"
    if sslmode not in CHECKS_CA and not ca:
        context.verify_mode = ssl.CERT_NONE
    elif ca:
        context.load_verify_locations(cadata=ca)
    else:
        context.load_default_certs()
    return context


def read_certificates(text: str) -> str:
    """Return the certificates that a text in PEM holds, and nothing else of it; raise `ValueError` without any."""
    found = "\n".join(CERTIFICATE.findall(text[:LARGEST_CA]))
    if not found or not x509.load_pem_x509_certificates(found.encode()):
        raise ValueError
    return found + "\n"


def read_certificate_file(path: str) -> str:
    """Return the certificates of a file of this machine; raise `ValueError` or `OSError` for what holds none."""
    if not os.path.isabs(path):
        raise ValueError
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold us up
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError
        return read_certificates(file.read(LARGEST_CA).decode("ascii", "replace"))
