"""Stripe's resources, one row each: where they are listed, what filters them, and which permission guards them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One object type with a list of its own.

    `filters` are query parameters that must equal the field of the same name; those in `indexed` are
    looked up instead of scanned. `required` is a parameter without which Stripe answers 400.
    """

    name: str
    path: str
    prefix: str
    permission: str
    created: bool = True
    filters: tuple[str, ...] = ()
    indexed: tuple[str, ...] = ()
    required: str | None = None
    leaves_stub: bool = False  # a deleted one is still retrieved, as {id, object, deleted: true}
    livemode_only: bool | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """A list below a parent: either a resource filtered by `by`, or the parent's inline children."""

    parent: str
    tail: str
    resource: str
    permission: str
    by: str | None = None
    created: bool = False
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inline:
    """A child list that its parent carries, cut after ten."""

    field: str
    child: str
    url: str


_C, _CS = ("customer",), ("customer", "status")

RESOURCES: tuple[Resource, ...] = (
    # Core
    Resource("balance_transaction", "balance_transactions", "txn", "balance_transaction_source",
             filters=("payout", "type", "source", "currency"), indexed=("payout", "source")),
    Resource("charge", "charges", "ch", "charge", filters=("customer", "payment_intent", "transfer_group"),
             indexed=("customer", "payment_intent")),
    Resource("refund", "refunds", "re", "charge", filters=("charge", "payment_intent"),
             indexed=("charge", "payment_intent")),
    Resource("customer", "customers", "cus", "customer", filters=("email", "test_clock"), leaves_stub=True),
    Resource("dispute", "disputes", "du", "dispute", filters=("charge", "payment_intent"), indexed=("charge",)),
    Resource("file", "files", "file", "file", filters=("purpose",)),
    Resource("file_link", "file_links", "link", "file", filters=("expired", "file")),
    Resource("payment_intent", "payment_intents", "pi", "payment_intent", filters=_C, indexed=_C),
    Resource("payment_method", "payment_methods", "pm", "payment_method", created=False, filters=("customer", "type"),
             indexed=_C),
    Resource("payment_method_configuration", "payment_method_configurations", "pmc", "payment_method_configuration",
             created=False, filters=("active", "application")),
    Resource("payment_method_domain", "payment_method_domains", "pmd", "payment_method_domain", created=False,
             filters=("domain_name", "enabled")),
    Resource("payout", "payouts", "po", "payout", filters=("status", "destination", "arrival_date")),
    Resource("product", "products", "prod", "product", filters=("active", "shippable", "url")),
    Resource("setup_intent", "setup_intents", "seti", "setup_intent",
             filters=("customer", "payment_method", "attach_to_self"), indexed=_C),
    Resource("setup_attempt", "setup_attempts", "setatt", "setup_intent", filters=("setup_intent",),
             indexed=("setup_intent",), required="setup_intent"),
    Resource("shipping_rate", "shipping_rates", "shr", "shipping_rate", filters=("active", "currency")),
    Resource("topup", "topups", "tu", "top_up", filters=("status",)),
    Resource("review", "reviews", "prv", "review"),
    Resource("radar.early_fraud_warning", "radar/early_fraud_warnings", "issfr", "charge",
             filters=("charge", "payment_intent")),
    Resource("test_helpers.test_clock", "test_helpers/test_clocks", "clock", "billing_clock", created=False,
             livemode_only=False),
    Resource("exchange_rate", "exchange_rates", "", "exchange_rate", created=False),
    Resource("country_spec", "country_specs", "", "country_spec", created=False),
    Resource("tax_code", "tax_codes", "txcd", "tax_code", created=False),
    # Billing
    Resource("subscription", "subscriptions", "sub", "subscription",
             filters=("customer", "price", "collection_method", "test_clock", "status"), indexed=("customer", "price")),
    Resource("subscription_schedule", "subscription_schedules", "sub_sched", "subscription", filters=_C),
    Resource("price", "prices", "price", "plan", filters=("active", "product", "type", "currency"),
             indexed=("product",)),
    Resource("plan", "plans", "price", "plan", filters=("active", "product"), indexed=("product",)),
    Resource("invoice", "invoices", "in", "invoice",
             filters=("customer", "subscription", "status", "collection_method"), indexed=("customer", "subscription")),
    Resource("invoiceitem", "invoiceitems", "ii", "invoice", filters=("customer", "invoice", "pending"),
             indexed=("customer", "invoice")),
    Resource("invoice_payment", "invoice_payments", "inpay", "invoice", filters=("invoice", "status"),
             indexed=("invoice",)),
    Resource("invoice_rendering_template", "invoice_rendering_templates", "inrtem", "invoice", created=False,
             filters=("status",)),
    Resource("credit_note", "credit_notes", "cn", "credit_note", filters=("customer", "invoice"),
             indexed=("customer", "invoice")),
    Resource("coupon", "coupons", "", "coupon"),
    Resource("promotion_code", "promotion_codes", "promo", "promotion_code",
             filters=("active", "code", "coupon", "customer")),
    Resource("quote", "quotes", "qt", "quote", created=False, filters=(*_CS, "test_clock")),
    Resource("tax_id", "tax_ids", "txi", "customer", created=False, filters=("owner",), indexed=_C),
    Resource("tax_rate", "tax_rates", "txr", "tax_rate", filters=("active", "inclusive")),
    Resource("billing.meter", "billing/meters", "mtr", "billing_meter", created=False, filters=("status",)),
    Resource("billing.credit_grant", "billing/credit_grants", "credgr", "billing_credit_grant", created=False,
             filters=_C),
    Resource("billing.credit_balance_transaction", "billing/credit_balance_transactions", "cbtxn",
             "billing_credit_balance_transaction", created=False, filters=("customer", "credit_grant"),
             required="customer", indexed=_C),
    Resource("billing.alert", "billing/alerts", "alrt", "billing_alert", created=False,
             filters=("alert_type", "meter")),
    Resource("billing.feedback_option", "billing/feedback_options", "fbopt", "subscription", created=False,
             filters=("status",)),
    Resource("billing_portal.configuration", "billing_portal/configurations", "bpc", "customer_portal",
             created=False, filters=("active", "is_default")),
    Resource("entitlements.feature", "entitlements/features", "feat", "entitlement", created=False,
             filters=("lookup_key", "archived")),
    Resource("entitlements.active_entitlement", "entitlements/active_entitlements", "ent", "entitlement",
             created=False, filters=_C, indexed=_C, required="customer"),
    Resource("product_catalog.trial_offer", "product_catalog/trial_offers", "tof", "plan"),
    # Connect
    Resource("account", "accounts", "acct", "connected_account"),
    Resource("application_fee", "application_fees", "fee", "application_fee", filters=("charge",)),
    Resource("transfer", "transfers", "tr", "transfer", filters=("destination", "transfer_group"),
             indexed=("destination",)),
    # Outside the permissions that a connection asks for
    Resource("checkout.session", "checkout/sessions", "cs_test", "checkout_session",
             filters=("customer", "payment_intent", "subscription", "status")),
    Resource("payment_link", "payment_links", "plink", "payment_links", created=False, filters=("active",)),
)  # fmt: skip

# Object types that live only below a parent.
BELOW_A_PARENT: tuple[Resource, ...] = (
    Resource("card", "", "card", "customer", indexed=_C),
    Resource("source", "sources", "src", "source", indexed=_C),
    Resource("mandate", "mandates", "mandate", "mandate"),
    Resource("customer_balance_transaction", "", "cbtxn", "customer", indexed=_C),
    Resource("customer_cash_balance_transaction", "", "ccsbtxn", "customer", indexed=_C),
    Resource("product_feature", "", "prodft", "product", indexed=("product",)),
    Resource("source_transaction", "", "srctxn", "source", indexed=("source",)),
    Resource("capability", "", "", "connected_account", indexed=("account",)),
    Resource("bank_account", "", "ba", "connected_account", indexed=("account",)),
    Resource("person", "", "person", "connected_account", indexed=("account",)),
    Resource("item", "", "li", "quote", indexed=("parent",)),
)

NESTED: tuple[Nested, ...] = (
    Nested("customers", "payment_methods", "payment_method", "payment_method", by="customer", filters=("type",)),
    Nested("customers", "sources", "card", "customer", by="customer", filters=("object",)),
    Nested("customers", "balance_transactions", "customer_balance_transaction", "customer", by="customer",
           created=True),
    Nested("customers", "cash_balance_transactions", "customer_cash_balance_transaction", "customer", by="customer"),
    Nested("customers", "tax_ids", "tax_id", "customer", by="customer"),
    Nested("customers", "subscriptions", "subscription", "subscription", by="customer", filters=("status",)),
    Nested("products", "features", "product_feature", "product", by="product"),
    Nested("charges", "refunds", "refund", "charge", by="charge"),
    Nested("invoices", "lines", "line_item", "invoice"),
    Nested("credit_notes", "lines", "credit_note_line_item", "credit_note"),
    Nested("application_fees", "refunds", "fee_refund", "application_fee"),
    Nested("transfers", "reversals", "transfer_reversal", "transfer"),
    Nested("accounts", "capabilities", "capability", "connected_account", by="account"),
    Nested("accounts", "external_accounts", "bank_account", "connected_account", by="account", filters=("object",)),
    Nested("accounts", "persons", "person", "connected_account", by="account"),
    Nested("sources", "source_transactions", "source_transaction", "source", by="source"),
    Nested("quotes", "line_items", "item", "quote", by="parent"),
    Nested("quotes", "computed_upfront_line_items", "item", "quote", by="parent"),
    Nested("checkout/sessions", "line_items", "item", "checkout_session", by="parent"),
    Nested("payment_links", "line_items", "item", "payment_links", by="parent"),
)  # fmt: skip

INLINE: dict[str, Inline] = {
    "invoice": Inline("lines", "line_item", "/v1/invoices/{id}/lines"),
    "subscription": Inline("items", "subscription_item", "/v1/subscription_items?subscription={id}"),
    "credit_note": Inline("lines", "credit_note_line_item", "/v1/credit_notes/{id}/lines"),
    "application_fee": Inline("refunds", "fee_refund", "/v1/application_fees/{id}/refunds"),
    "transfer": Inline("reversals", "transfer_reversal", "/v1/transfers/{id}/reversals"),
}

ALL: dict[str, Resource] = {row.name: row for row in (*RESOURCES, *BELOW_A_PARENT)}
BY_PATH: dict[str, Resource] = {row.path: row for row in (*RESOURCES, *BELOW_A_PARENT) if row.path}
BY_NESTED_PATH: dict[tuple[str, str], Nested] = {(row.parent, row.tail): row for row in NESTED}

PERMISSIONS: frozenset[str] = frozenset(
    {f"rak_{row.permission}_read" for row in (*RESOURCES, *BELOW_A_PARENT)}
    | {"rak_event_read", "rak_balance_read", "rak_balance_settings_read", "rak_webhook_read", "rak_webhook_write",
       "rak_accounts_kyc_basic_read"}
)  # fmt: skip
