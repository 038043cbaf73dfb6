"""Resources of the permission group Core: payments, customers, payouts and what they leave in the balance."""

from __future__ import annotations

from shared.catalogue.resource import (
    Group,
    Resource,
    booleans,
    event_types,
    numbers,
    texts,
    timestamps,
)

CHARGE_EVENTS = event_types("charge", "captured expired failed pending refunded succeeded updated")
DISPUTE_EVENTS = event_types("charge.dispute", "closed created funds_reinstated funds_withdrawn updated")
REFUND_EVENTS = (*event_types("refund", "created failed updated"), "charge.refund.updated")
PAYOUT_EVENTS = event_types("payout", "canceled created failed paid reconciliation_completed updated")
REVIEW_EVENTS = event_types("review", "closed opened")
DISCOUNT_EVENTS = event_types("customer.discount", "created deleted updated")

BALANCE_RESOURCES = (
    Resource(
        name="balance_transaction",
        object="balance_transaction",
        table="balance_transactions",
        list_path="/v1/balance_transactions",
        group=Group.CORE,
        permission="balance_transaction_source",
        toggle="Balance transaction sources",
        columns=(
            *timestamps("created available_on"),
            *texts("type reporting_category status source currency description balance_type"),
            *numbers("amount fee net exchange_rate"),
        ),
        hinted_by=(
            *event_types("charge", "captured refunded succeeded"),
            *event_types("charge.dispute", "funds_reinstated funds_withdrawn"),
            *REFUND_EVENTS,
            *PAYOUT_EVENTS,
            *event_types("transfer", "created reversed updated"),
            *event_types("topup", "reversed succeeded"),
            *event_types("application_fee", "created refunded"),
            *event_types("reserve.hold", "created updated"),
            *event_types("reserve.plan", "created disabled expired updated"),
            "reserve.release.created",
            "balance.available",
        ),
        has_created_filter=True,
        changes_silently=True,
        is_in_event_feed=False,
    ),
    Resource(
        name="payout",
        object="payout",
        table="payouts",
        list_path="/v1/payouts",
        group=Group.CORE,
        permission="payout",
        toggle="Payouts",
        columns=(
            *timestamps("created arrival_date"),
            *numbers("amount application_fee_amount"),
            *texts("currency status type method destination source_type reconciliation_status description"),
            *texts("balance_transaction failure_code failure_message original_payout reversed_by"),
            *texts("statement_descriptor"),
            *booleans("automatic"),
        ),
        events=PAYOUT_EVENTS,
        has_created_filter=True,
    ),
)

PAYMENT_RESOURCES = (
    Resource(
        name="charge",
        object="charge",
        table="charges",
        list_path="/v1/charges",
        group=Group.CORE,
        permission="charge",
        toggle="Charges and Refunds",
        columns=(
            *timestamps("created"),
            *numbers("amount amount_captured amount_refunded application_fee_amount"),
            *texts("currency status customer payment_intent payment_method balance_transaction description"),
            *texts("failure_code failure_message receipt_email statement_descriptor"),
            *booleans("paid captured refunded disputed"),
        ),
        events=CHARGE_EVENTS,
        hinted_by=(*DISPUTE_EVENTS, *REFUND_EVENTS, *REVIEW_EVENTS),
        has_created_filter=True,
    ),
    Resource(
        name="refund",
        object="refund",
        table="refunds",
        list_path="/v1/refunds",
        group=Group.CORE,
        permission="charge",
        toggle="Charges and Refunds",
        columns=(
            *timestamps("created"),
            *numbers("amount"),
            *texts("currency status reason charge payment_intent customer balance_transaction"),
            *texts("failure_reason failure_balance_transaction receipt_number description"),
        ),
        events=REFUND_EVENTS,
        hinted_by=("charge.refunded",),
        has_created_filter=True,
        is_in_event_feed=False,
    ),
    Resource(
        name="customer",
        object="customer",
        table="customers",
        list_path="/v1/customers",
        group=Group.CORE,
        permission="customer",
        toggle="Customers",
        columns=(
            *timestamps("created"),
            *texts("email name phone description currency default_source invoice_prefix tax_exempt"),
            *texts("invoice_settings.default_payment_method test_clock"),
            *texts("address.city address.country address.line1 address.line2 address.postal_code address.state"),
            *numbers("balance"),
            *booleans("delinquent"),
        ),
        events=event_types("customer", "created deleted updated"),
        deleted_by=("customer.deleted",),
        hinted_by=(*DISCOUNT_EVENTS, *event_types("customer.source", "created deleted expiring updated")),
        has_created_filter=True,
    ),
)

CORE_RESOURCES: tuple[Resource, ...] = (*BALANCE_RESOURCES, *PAYMENT_RESOURCES)
