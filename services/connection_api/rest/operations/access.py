"""What can be asked about sign-in, tokens and the audit log."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
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
        shows_secret=True,
    ),
    Operation(
        name="list_sessions",
        method="GET",
        path="/v1/sessions",
        summary="List the browsers that are signed in.",
        access=Access.MANAGE,
        query=models.PageQuery,
        answer=models.Page[models.SessionAnswer],
    ),
    Operation(
        name="end_session",
        method="DELETE",
        path="/v1/sessions/{id}",
        summary="Sign a browser out at once; its open pages stop.",
        access=Access.MANAGE,
        answer=None,
        status=204,
    ),
    Operation(
        name="create_token",
        method="POST",
        path="/v1/tokens",
        summary="Make a token for a program; its secret is shown once.",
        access=Access.ADMIN,
        body=models.NewToken,
        answer=models.NewTokenAnswer,
        status=201,
        shows_secret=True,
    ),
    Operation(
        name="list_tokens",
        method="GET",
        path="/v1/tokens",
        summary="List tokens, revoked and expired ones too.",
        access=Access.ADMIN,
        query=models.PageQuery,
        answer=models.Page[models.TokenAnswer],
    ),
    Operation(
        name="revoke_token",
        method="DELETE",
        path="/v1/tokens/{id}",
        summary="Revoke a token at once, for good.",
        access=Access.ADMIN,
        answer=None,
        status=204,
    ),
    Operation(
        name="list_audit_log",
        method="GET",
        path="/v1/audit-log",
        summary="List who did what, newest first.",
        access=Access.READ,
        query=models.AuditQuery,
        answer=models.Page[models.AuditEntryAnswer],
    ),
    Operation(
        name="verify_audit_log",
        method="GET",
        path="/v1/audit-log/verification",
        summary="Compute the audit log's hashes anew, look at its seals, and say whether one was changed or is gone.",
        access=Access.READ,
        answer=models.VerificationAnswer,
    ),
)
