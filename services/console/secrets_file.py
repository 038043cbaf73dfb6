"""The secrets of a stack on one machine: made once, kept in its home folder for its owner alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from local_stack.storage import write_private
from shared.crypto import make_encryption_key, make_token

FILE = "secrets.json"


@dataclass(frozen=True, slots=True)
class LocalSecrets:
    """What encrypts the state, and what lets this machine's command line in."""

    encryption_keys: str = field(repr=False)
    api_token: str = field(repr=False)


def load_secrets(home: Path) -> LocalSecrets:
    """Return the secrets of `home`; they are made when there are none."""
    file = home / FILE
    if not file.exists():
        write_private(file, json.dumps(asdict(LocalSecrets(make_encryption_key("k1"), make_token("tst")))))
    return LocalSecrets(**json.loads(file.read_text()))
