"""Changes to what is billed: upgrades, loose invoice items, credit notes, quotes and schedules."""

from __future__ import annotations

from simulator.business.billing import add_invoice, add_item, collect_invoice, finalize_invoice
from simulator.business.customers import next_subscription
from simulator.business.money import refund_charge
from simulator.business.shop import DAY, MONTH, Offer, Shop
from simulator.shapes import State


def add_invoice_item(
    shop: Shop, customer: str, amount: int, offer: Offer, *, subscription: str | None = None, proration: bool = False
) -> str:
    """Put a loose item on a customer's next invoice; give its id."""
    world = shop.world
    details = {"subscription": subscription, "subscription_item": None}
    return world.add(
        "invoiceitem",
        "invoiceitem.created",
        amount=amount,
        customer=customer,
        date=world.second,
        description=f"{'Proration' if proration else 'Setup'}: {offer.name}",
        discounts=[],
        metadata={},
        net_amount=amount,
        parent={"subscription_details": details, "type": "subscription_details"} if subscription else None,
        period={"start": world.second, "end": world.second + MONTH},
        pricing={
            "price_details": {"price": offer.price, "product": offer.product},
            "type": "price_details",
            "unit_amount_decimal": str(amount),
        },
        proration=proration,
        quantity=1,
        quantity_decimal="1",
        tax_rates=[],
        _subscription=subscription,
        _price=[offer.price, offer.product, amount],
    )


def upgrade(shop: Shop) -> None:
    """Move a subscription to another offer: two prorations, an invoice and its payment in one second."""
    subscription = next_subscription(shop)
    if subscription is None:
        return
    world, rng = shop.world, shop.rng
    old, offer = subscription["_children"][0], rng.choice(shop.offers)
    items = [add_item(shop, subscription["id"], offer, old["quantity"]) | {"id": old["id"], "created": old["created"]}]
    metadata = {**subscription["metadata"], "plan": offer.name}
    world.change(
        "subscription", subscription["id"], "customer.subscription.updated",
        _children=[*items, *subscription["_children"][1:]], _price=offer.price, metadata=metadata,
    )  # fmt: skip
    credit = Offer(old["_price"], old["_product"], old["_amount"], old["_name"])
    share = rng.random()
    amounts = (-round(credit.amount * old["quantity"] * share), round(offer.amount * old["quantity"] * share))
    loose = [
        add_invoice_item(shop, subscription["customer"], amount, of, subscription=subscription["id"], proration=True)
        for amount, of in zip(amounts, (credit, offer), strict=True)
    ]
    invoice = invoice_items(shop, subscription["customer"], loose, reason="subscription_update", of=subscription)
    world.change("subscription", subscription["id"], "customer.subscription.updated", latest_invoice=invoice)
    shop.subscriptions.append(subscription["id"])


def invoice_items(shop: Shop, customer_id: str, items: list[str], *, reason: str, of: State | None = None) -> str:
    """Invoice loose items now and collect; give the invoice's id."""
    world = shop.world
    invoice = world.new_id("in")
    customer = world.get("customer", customer_id)
    lines = [_item_line(shop, world.get("invoiceitem", item), invoice) for item in items]
    add_invoice(shop, customer, lines, reason=reason, subscription=of, invoice=invoice)
    for item in items:
        world.change("invoiceitem", item, invoice=invoice)
    finalize_invoice(shop, invoice)
    collect_invoice(shop, customer, invoice)
    return invoice


def _item_line(shop: Shop, item: State, invoice: str) -> State:
    return {
        "id": shop.world.new_id("il"),
        "amount": item["amount"],
        "description": item["description"],
        "discount_amounts": [],
        "invoice": invoice,
        "period": item["period"],
        "pretax_credit_amounts": [],
        "quantity": 1,
        "subscription": item["_subscription"],
        "taxes": [],
        "_price": item["_price"],
        "_proration": item["proration"],
        "_invoice_item": item["id"],
    }


def add_loose_item(shop: Shop) -> None:
    """Put an item on a customer's next invoice; invoice or delete it later."""
    customer = shop.world.pick("customer")
    if customer is not None:
        shop.loose_items.append(
            add_invoice_item(shop, customer, shop.rng.randrange(100, 9000), shop.rng.choice(shop.offers))
        )


def settle_loose_item(shop: Shop) -> None:
    """Delete a waiting item, or put it on an invoice of its own."""
    item_id = shop.take(shop.loose_items)
    if item_id is None:
        return add_loose_item(shop)
    customer = shop.world.get("invoiceitem", item_id)["customer"]
    if shop.chance(0.5) or shop.world.store.find("customer", customer) is None:
        shop.world.remove("invoiceitem", item_id, "invoiceitem.deleted")
        return None
    invoice_items(shop, customer, [item_id], reason="manual")
    return None


def credit(shop: Shop) -> None:
    """Credit part of a paid invoice and refund it; sometimes void the note at once."""
    world = shop.world
    invoice_id = world.pick("invoice", newest=300)
    invoice = invoice_id and world.get("invoice", invoice_id)
    if not invoice or invoice["status"] != "paid" or invoice["total"] <= 100 or invoice.get("_credited"):
        return
    charge = next(iter(_charges_of(shop, invoice["id"])), None)
    if charge is None or charge.get("amount_refunded") or charge.get("disputed"):
        return
    lines = [_credit_line(shop, line) for line in invoice["_children"] if line["amount"] > 1]
    amount = min(sum(line["amount"] for line in lines), charge["amount"])
    refund = refund_charge(shop, charge["id"], amount)
    note = world.add(
        "credit_note",
        "credit_note.created",
        amount=amount,
        customer=invoice["customer"],
        effective_at=world.second,
        invoice=invoice["id"],
        metadata={},
        number=f"{invoice['number']}-CN-01",
        pdf=f"https://pay.stripe.com/credit_notes/{invoice['id']}/pdf",
        post_payment_amount=amount,
        reason="order_change",
        refunds=[{"amount_refunded": amount, "refund": refund, "type": "refund"}],
        subtotal=amount,
        subtotal_excluding_tax=amount,
        total=amount,
        total_excluding_tax=amount,
        total_taxes=[],
        type="post_payment",
        _children=lines,
    )
    world.change("invoice", invoice["id"], "invoice.updated", post_payment_credit_notes_amount=amount, _credited=note)
    if shop.chance(0.3):
        world.change("credit_note", note, "credit_note.updated", memo="Sorry for the trouble")
    if shop.chance(0.1):
        world.change("credit_note", note, "credit_note.voided", status="void", voided_at=world.second)


def _credit_line(shop: Shop, line: State) -> State:
    return {
        "id": shop.world.new_id("cnli"),
        "amount": max(1, line["amount"] // 4),
        "description": line["description"],
        "invoice_line_item": line["id"],
        "metadata": {},
        "quantity": line["quantity"],
        "taxes": [],
        "unit_amount": max(1, line["amount"] // 4),
        "unit_amount_decimal": str(max(1, line["amount"] // 4)),
    }


def _charges_of(shop: Shop, invoice_id: str) -> list[State]:
    """Invoices don't name their charges: the way leads over invoice payments and payment intents."""
    store = shop.world.store
    payments, charges = store.tables["invoice_payment"], store.tables["charge"]
    intents = [
        state["payment"]["payment_intent"]
        for position in payments.indexes["invoice"].get(invoice_id, ())
        if (state := payments.at(position)) is not None and state["status"] == "paid"
    ]
    positions = [position for intent in intents for position in charges.indexes["payment_intent"].get(intent, ())]
    return [state for position in positions if (state := charges.at(position)) is not None]


def leave_invoice_open(shop: Shop) -> None:
    """Send an invoice to be paid by hand, and void it or not."""
    world = shop.world
    customer_id = world.pick("customer")
    if customer_id is None:
        return
    item = add_invoice_item(shop, customer_id, shop.rng.randrange(1000, 90_000), shop.rng.choice(shop.offers))
    invoice = world.new_id("in")
    line = _item_line(shop, world.get("invoiceitem", item), invoice)
    add_invoice(shop, world.get("customer", customer_id), [line], reason="manual", invoice=invoice)
    world.change("invoiceitem", item, invoice=invoice)
    world.change(
        "invoice", invoice, "invoice.updated",
        collection_method="send_invoice", due_date=world.second + 14 * DAY, auto_advance=False,
    )  # fmt: skip
    finalize_invoice(shop, invoice)
    if shop.chance(0.3):
        world.change("invoice", invoice, "invoice.updated", "invoice.voided", status="void", _voided_at=world.second)
