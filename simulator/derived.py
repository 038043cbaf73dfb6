"""Parts of objects that follow from a few private values (their keys start with `_`) instead of being stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulator.shapes import State

if TYPE_CHECKING:
    from simulator.render import Renderer


def card_fields(card: list[Any]) -> State:
    """Expand [brand, last four digits, month, year, fingerprint] into what every card hash has."""
    brand, last4, month, year, fingerprint = card
    return {
        "brand": brand,
        "country": "US",
        "exp_month": month,
        "exp_year": year,
        "fingerprint": fingerprint,
        "funding": "credit",
        "last4": last4,
        "regulated_status": "unregulated",
        "wallet": None,
    }


_CHECKS = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}


def _charge(charge: State, renderer: Renderer) -> None:
    if "_card" not in charge:
        return
    card = charge["_card"]
    declined = charge["status"] == "failed"
    charge["billing_details"] = _billing_details(charge)
    charge["outcome"] = {
        "advice_code": "try_again_later" if declined else None,
        "network_advice_code": None,
        "network_decline_code": "05" if declined else None,
        "network_status": "declined_by_network" if declined else "approved_by_network",
        "reason": "generic_decline" if declined else None,
        "risk_level": "normal",
        "risk_score": charge["_risk"],
        "seller_message": "The bank did not return any further details with this decline."
        if declined
        else "Payment complete.",
        "type": "issuer_declined" if declined else "authorized",
    }
    charge["payment_method_details"] = {
        "card": {
            "amount_authorized": None if declined else charge["amount"],
            "authorization_code": None if declined else card[4][:6],
            **card_fields(card),
            "checks": _CHECKS,
            "extended_authorization": {"status": "disabled"},
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card[0],
            "network_token": {"used": False},
            "network_transaction_id": None,
            "overcapture": {"maximum_amount_capturable": charge["amount"], "status": "unavailable"},
            "three_d_secure": None,
            "transaction_link_id": None,
        },
        "type": "card",
    }
    if not declined:
        charge["receipt_url"] = f"https://pay.stripe.com/receipts/payment/{charge['id']}"


def _payment_method(method: State, renderer: Renderer) -> None:
    if "_card" not in method:
        return
    method["billing_details"] = _billing_details(method)
    method["card"] = {
        **card_fields(method["_card"]),
        "checks": _CHECKS,
        "display_brand": method["_card"][0],
        "generated_from": None,
        "networks": {"available": [method["_card"][0]], "preferred": None},
        "three_d_secure_usage": {"supported": True},
    }


def _billing_details(state: State) -> State:
    return {
        "address": {
            "city": None, "country": "US", "line1": None, "line2": None, "postal_code": state.get("_zip"),
            "state": None,
        },
        "email": state.get("_email"),
        "name": state.get("_name"),
        "phone": None,
        "tax_id": None,
    }  # fmt: skip


def _balance_transaction(transaction: State, renderer: Renderer) -> None:
    # Stripe sends no event when a transaction becomes available: only the clock decides.
    pending = transaction["available_on"] > renderer.now()
    transaction["status"] = "pending" if pending else "available"


def _dispute(dispute: State, renderer: Renderer) -> None:
    ids = dispute.get("_transactions", ())
    dispute["balance_transactions"] = [renderer.find("balance_transaction", one) for one in ids]


def _subscription_item(item: State, renderer: Renderer) -> None:
    price = item["_price"]
    item["price"] = renderer.find("price", price)
    item["plan"] = renderer.find("plan", price)


def _invoice(invoice: State, renderer: Renderer) -> None:
    if subscription := invoice.get("_subscription"):
        invoice["parent"] = {
            "quote_details": None,
            "subscription_details": {
                "metadata": invoice.get("_subscription_metadata", {}),
                "subscription": subscription,
            },
            "type": "subscription_details",
        }
    if invoice["number"]:
        page = f"https://invoice.stripe.com/i/{invoice['id']}"
        invoice["hosted_invoice_url"] = page
        invoice["invoice_pdf"] = f"{page}/pdf"
    paid_at, finalized_at = invoice.get("_paid_at"), invoice.get("_finalized_at")
    invoice["status_transitions"] = {
        "finalized_at": finalized_at,
        "marked_uncollectible_at": None,
        "paid_at": paid_at,
        "voided_at": invoice.get("_voided_at"),
    }
    invoice["effective_at"] = finalized_at
    for field in ("subtotal_excluding_tax", "total_excluding_tax"):
        invoice[field] = invoice["total"]


def _line_item(line: State, renderer: Renderer) -> None:
    if "_price" not in line:
        return
    price, product, unit_amount = line["_price"]
    line["subtotal"] = line["amount"]
    line["quantity_decimal"] = str(line["quantity"])
    line["pricing"] = {
        "price_details": {"price": price, "product": product},
        "type": "price_details",
        "unit_amount_decimal": str(unit_amount),
    }
    line["parent"] = _line_parent(line)


def _line_parent(line: State) -> State:
    details = {"proration": line.get("_proration", False), "proration_details": {"credited_items": None}}
    if item := line.get("_subscription_item"):
        details |= {"invoice_item": None, "subscription": line["subscription"], "subscription_item": item}
        return {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        }
    details |= {"invoice_item": line["_invoice_item"], "subscription": line["subscription"]}
    return {"invoice_item_details": details, "subscription_item_details": None, "type": "invoice_item_details"}


def _item(item: State, renderer: Renderer) -> None:
    item["price"] = renderer.find("price", item["_price"])


DERIVED: dict[str, Callable[[State, Renderer], None]] = {
    "balance_transaction": _balance_transaction,
    "charge": _charge,
    "dispute": _dispute,
    "invoice": _invoice,
    "item": _item,
    "line_item": _line_item,
    "payment_method": _payment_method,
    "subscription_item": _subscription_item,
}
