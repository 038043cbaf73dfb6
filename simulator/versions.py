"""Objects in the shape of older API versions, for accounts and endpoints that stayed behind."""

from __future__ import annotations

from collections.abc import Callable

from simulator.shapes import State

BASIL = "2025-03-31"


def render_for_version(resource: str, rendered: State, state: State, version: str) -> State:
    """Give an object of the pinned version as `version` has it; `state` is what it was rendered from."""
    change = _BEFORE_BASIL.get(resource)
    return change(dict(rendered), state) if change and version < BASIL else rendered


def _charge(charge: State, state: State) -> State:
    charge["invoice"] = state.get("_invoice")
    return charge


def _invoice(invoice: State, state: State) -> State:
    parent = invoice.pop("parent", None)
    details = (parent or {}).get("subscription_details") or {}
    invoice["subscription"] = details.get("subscription")
    invoice["subscription_details"] = {"metadata": details.get("metadata")} if details else None
    invoice["charge"] = state.get("_charge")
    invoice["payment_intent"] = state.get("_payment_intent")
    invoice["paid"] = invoice["status"] == "paid"
    invoice["paid_out_of_band"] = False
    invoice["quote"] = None
    invoice["discount"] = None
    invoice["tax"] = None
    invoice["total_tax_amounts"] = invoice.pop("total_taxes") or []
    lines = invoice["lines"]
    invoice["lines"] = {**lines, "data": [_line_item(dict(line)) for line in lines["data"]]}
    return invoice


def _line_item(line: State) -> State:
    parent, pricing = line.pop("parent", None) or {}, line.pop("pricing", None) or {}
    item = parent.get("subscription_item_details") or {}
    line["type"] = "subscription" if item else "invoiceitem"
    line["subscription_item"] = item.get("subscription_item")
    line["invoice_item"] = (parent.get("invoice_item_details") or {}).get("invoice_item")
    line["price"] = (pricing.get("price_details") or {}).get("price")
    line["unit_amount_excluding_tax"] = pricing.get("unit_amount_decimal")
    line["tax_amounts"] = line.pop("taxes", None) or []
    return line


def _subscription(subscription: State, state: State) -> State:
    items = subscription["items"]
    first = items["data"][0] if items["data"] else {}
    for field in ("current_period_start", "current_period_end"):
        subscription[field] = first.get(field)
    subscription["discount"] = None
    subscription.pop("billing_mode", None)
    subscription["items"] = {**items, "data": [_subscription_item(dict(item)) for item in items["data"]]}
    subscription["plan"] = first.get("plan") if len(items["data"]) == 1 else None
    subscription["quantity"] = first.get("quantity") if len(items["data"]) == 1 else None
    return subscription


def _subscription_item(item: State) -> State:
    item.pop("current_period_start", None)
    item.pop("current_period_end", None)
    return item


_BEFORE_BASIL: dict[str, Callable[[State, State], State]] = {
    "charge": _charge,
    "payment_intent": _charge,
    "invoice": _invoice,
    "subscription": _subscription,
}
