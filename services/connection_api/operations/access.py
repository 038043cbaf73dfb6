"""What can be asked about sign-in."""

from __future__ import annotations

from services.connection_api import models
from services.connection_api.operations.operation import Operation
from shared.http import Access

ACCESS = (
    Operation(
        name="create_sign_in_link",
        method="POST",
        path="/v1/sign-in-links",
        summary="Make a link that signs a browser in, once, within ten minutes.",
        access=Access.ADMIN,
        answer=models.SignInLinkAnswer,
        status=201,
    ),
)
