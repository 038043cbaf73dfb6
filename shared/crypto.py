"""Secrets at rest: AES-256-GCM under a rotatable list of keys, bound to the row that they belong to.

A ciphertext that is copied to another row or field does not decrypt.
Layout: length of the key's id (1 byte), key id, nonce (12 bytes), ciphertext with tag.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import ConfigError, TerminalError

NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.2: random nonces of 96 bits
KEY_BYTES = 32
CHECKSUM_LENGTH = 7  # letters


class SecretUnreadableError(TerminalError):
    """A stored secret can't be decrypted: its key is missing from TILLSTREAM_ENCRYPTION_KEYS, or it was altered."""

    code = "secret_unreadable"
    status = 422  # a person has to do something; trying again changes nothing
    fix = "Put the encryption key back into TILLSTREAM_ENCRYPTION_KEYS, or enter the secret anew."

    def __init__(self) -> None:
        """Say what has happened and what to do about it."""
        super().__init__(f"{(SecretUnreadableError.__doc__ or '').strip()} {self.fix}")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Encrypts with the first key, decrypts with whichever key was used."""

    keys: tuple[tuple[str, bytes], ...] = field(repr=False)

    def encrypt(self, secret: str, *, owner: str, name: str, random: Callable[[int], bytes] = os.urandom) -> bytes:
        """Return `secret` encrypted for the field `name` of the row `owner`."""
        key_id, key = self.keys[0]
        nonce = random(NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, secret.encode(), _binding(owner, name))
        return bytes([len(key_id)]) + key_id.encode() + nonce + sealed

    def decrypt(self, sealed: bytes, *, owner: str, name: str) -> str:
        """Return the secret; raise `SecretUnreadableError` if row, field, key or bytes are not the same."""
        end = 1 + (sealed[0] if sealed else 0)
        key_id, rest = sealed[1:end].decode(errors="replace"), sealed[end:]
        key = dict(self.keys).get(key_id)
        if key is None:
            raise SecretUnreadableError
        try:
            return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], _binding(owner, name)).decode()
        except (InvalidTag, ValueError) as error:
            raise SecretUnreadableError from error

    def digest(self, content: bytes) -> bytes:
        """Return a hash that nobody without the first key can compute, such as of what may hold a weak password."""
        key = hmac.digest(self.keys[0][1], b"digest", "sha256")
        return hmac.digest(key, content, "sha256")


def parse_key_ring(text: str) -> KeyRing:
    """Parse `id:base64,id:base64`; raise `ConfigError` naming what is wrong, never the key."""
    keys: dict[str, bytes] = {}
    for position, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        key_id, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not 1 <= len(key_id) <= 32 or not key_id.isascii() or len(key) != KEY_BYTES:
            raise ConfigError(
                f"TILLSTREAM_ENCRYPTION_KEYS: entry {position} is not `id:base64 of 32 bytes`. "
                "Make one with `tillstream keys generate`.",
                field="encryption_keys",
            )
        if key_id in keys:
            raise ConfigError(
                f"TILLSTREAM_ENCRYPTION_KEYS: entry {position} has the id of an earlier one. Give each its own.",
                field="encryption_keys",
            )
        keys[key_id] = key
    if not keys:
        raise ConfigError("TILLSTREAM_ENCRYPTION_KEYS is empty. Make a key with `tillstream keys generate`.")
    return KeyRing(tuple(keys.items()))


def make_encryption_key(key_id: str) -> str:
    """Return a new random entry for `TILLSTREAM_ENCRYPTION_KEYS`."""
    return f"{key_id}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


def make_id(prefix: str) -> str:
    """Return a new id such as `con_5f3k…`: 100 random bits, lower case, safe in a URL."""
    return f"{prefix}_{_letters(secrets.token_bytes(13))}"


def make_token(prefix: str) -> str:
    """Return a new bearer secret of 160 random bits and a checksum, by which scanners and `is_token` know it."""
    secret = f"{prefix}_{_letters(secrets.token_bytes(20))}"
    return secret + _checksum(secret)


def is_token(text: str, prefix: str) -> bool:
    """Tell whether `make_token` can have made the text: what was cut off or mistyped is none."""
    secret, checksum = text[:-CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    return text.isascii() and text.startswith(f"{prefix}_") and checksum == _checksum(secret)


def hash_token(token: str) -> bytes:
    """Return what is stored of a token: tokens are random, so a plain SHA-256 can't be reversed."""
    return hashlib.sha256(token.encode()).digest()


def _letters(value: bytes) -> str:
    return base64.b32encode(value).decode().rstrip("=").lower()


def _checksum(secret: str) -> str:
    return _letters(zlib.crc32(secret.encode()).to_bytes(4))


def fingerprint(secret: str) -> str:
    """Return what tells two secrets apart and tells nothing of them; for secrets that nobody can guess."""
    return hash_token(secret).hex()[:16]


def _binding(owner: str, name: str) -> bytes:
    return f"{owner}\x00{name}".encode()
