"""What can be asked about the whole installation."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

INSTALLATION = (
    Operation(
        name="get_settings",
        method="GET",
        path="/v1/settings",
        summary="Show what is chosen for the whole installation.",
        access=Access.READ,
        answer=models.InstallationSettings,
    ),
    Operation(
        name="change_settings",
        method="PUT",
        path="/v1/settings",
        summary="Choose the zone in which the dashboard shows times.",
        access=Access.MANAGE,
        body=models.NewInstallationSettings,
        answer=models.InstallationSettings,
    ),
    Operation(
        name="try_public_url",
        method="GET",
        path="/v1/public-url",
        summary="Ask the webhook gateway over the public URL, once, and tell whether it answers.",
        access=Access.MANAGE,
        answer=models.PublicUrlAnswer,
    ),
)
