"""Resources of the permission group Connect: the account itself, connected accounts, transfers and fees."""

from __future__ import annotations

from shared.catalogue.resource import Resource

CONNECT_RESOURCES: tuple[Resource, ...] = ()
