"""The fake destination, held to the contract of destinations: what passes here may stand in for the real one."""

from __future__ import annotations

import pytest

from tests.contracts import CleanupContract, DestinationContract
from tests.fakes import MemoryDestination
from tests.future_contract import FutureContract
from tests.lookup_contract import LookupContract


@pytest.fixture
def destination() -> MemoryDestination:
    return MemoryDestination()


class TestMemoryDestination(DestinationContract, CleanupContract, LookupContract, FutureContract):
    pass
