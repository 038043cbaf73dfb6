"""Resources of the permission group Connect: the account itself, connected accounts, transfers and fees."""

from __future__ import annotations

from shared.catalogue.resource import (
    Child,
    Group,
    Resource,
    amounts,
    booleans,
    decimal_amounts,
    event_types,
    numbers,
    texts,
    timestamps,
)

ACCOUNT_COLUMNS = (
    *timestamps("created"),
    *texts("type business_type country default_currency email"),
    *texts("business_profile.mcc business_profile.name business_profile.support_email business_profile.url"),
    *texts("settings.dashboard.display_name settings.dashboard.timezone requirements.disabled_reason"),
    *booleans("charges_enabled payouts_enabled details_submitted"),
)
EXTERNAL_ACCOUNT_EVENTS = event_types("account.external_account", "created deleted updated")
PERSON_EVENTS = event_types("person", "created deleted updated")

EXTERNAL_ACCOUNT = Child(
    name="external_account",
    table="external_accounts",
    path=("external_accounts",),
    list_path="/v1/accounts/{id}/external_accounts",
    columns=(
        *texts("object account country currency last4 fingerprint status"),
        *texts("bank_name routing_number account_holder_name account_holder_type account_type"),
        *texts("brand funding name"),
        *numbers("exp_month exp_year"),
        *booleans("default_for_currency"),
    ),
)

TRANSFER_REVERSAL = Child(
    name="transfer_reversal",
    table="transfer_reversals",
    path=("reversals",),
    list_path="/v1/transfers/{id}/reversals",
    columns=(
        *timestamps("created"),
        *amounts("amount"),
        *texts("currency transfer balance_transaction destination_payment_refund source_refund"),
    ),
)

APPLICATION_FEE_REFUND = Child(
    name="application_fee_refund",
    table="application_fee_refunds",
    path=("refunds",),
    list_path="/v1/application_fees/{id}/refunds",
    columns=(
        *timestamps("created"),
        *amounts("amount"),
        *texts("currency"),
        *decimal_amounts("fee"),
        *texts("balance_transaction"),
    ),
)

CONNECT_RESOURCES: tuple[Resource, ...] = (
    Resource(
        name="account",
        object="account",
        table="accounts",
        list_path="/v1/account",
        group=Group.CONNECT,
        permission="connected_account",
        toggle="Accounts",
        columns=ACCOUNT_COLUMNS,
        events=("account.updated",),
        hinted_by=("capability.updated", *EXTERNAL_ACCOUNT_EVENTS, *PERSON_EVENTS),
        is_singleton=True,
        is_in_event_feed=False,
        permission_is_certain=False,
    ),
    Resource(
        name="connected_account",
        object="account",
        table="connected_accounts",
        list_path="/v1/accounts",
        group=Group.CONNECT,
        permission="connected_account",
        toggle="Accounts",
        columns=ACCOUNT_COLUMNS,
        hinted_by=(
            "account.updated",
            *event_types("account.application", "authorized deauthorized"),
            "capability.updated",
            *EXTERNAL_ACCOUNT_EVENTS,
            *PERSON_EVENTS,
        ),
        has_created_filter=True,
        children=(EXTERNAL_ACCOUNT,),
        hidden=("Persons and capabilities of a connected account are not kept.",),
        is_default=False,
        changes_silently=True,
        is_in_event_feed=False,
    ),
    Resource(
        name="transfer",
        object="transfer",
        table="transfers",
        list_path="/v1/transfers",
        group=Group.CONNECT,
        permission="transfer",
        toggle="Transfers",
        columns=(
            *timestamps("created"),
            *amounts("amount amount_reversed"),
            *texts("currency destination destination_payment balance_transaction source_transaction"),
            *texts("source_type transfer_group description"),
            *booleans("reversed"),
        ),
        events=event_types("transfer", "created reversed updated"),
        has_created_filter=True,
        children=(TRANSFER_REVERSAL,),
    ),
    Resource(
        name="application_fee",
        object="application_fee",
        table="application_fees",
        list_path="/v1/application_fees",
        group=Group.CONNECT,
        permission="application_fee",
        toggle="Application Fees",
        columns=(
            *timestamps("created"),
            *amounts("amount amount_refunded"),
            *texts("currency account application charge balance_transaction originating_transaction"),
            *texts("fee_source.type"),
            *booleans("refunded"),
        ),
        events=event_types("application_fee", "created refunded"),
        hinted_by=("application_fee.refund.updated",),
        has_created_filter=True,
        children=(APPLICATION_FEE_REFUND,),
    ),
    Resource(
        name="topup",
        object="topup",
        table="topups",
        list_path="/v1/topups",
        group=Group.CONNECT,
        permission="top_up",
        toggle="Top-ups",
        columns=(
            *timestamps("created expected_availability_date"),
            *amounts("amount"),
            *texts("currency status description balance_transaction failure_code failure_message"),
            *texts("statement_descriptor transfer_group"),
        ),
        events=event_types("topup", "canceled created failed reversed succeeded"),
        has_created_filter=True,
        permission_is_certain=False,
    ),
)
