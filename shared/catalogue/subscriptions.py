"""Resources of the permission group Billing that say who pays what, and when."""

from __future__ import annotations

from shared.catalogue.resource import (
    Child,
    Group,
    Resource,
    booleans,
    event_types,
    numbers,
    texts,
    timestamps,
)

ACTIVE_AND_INACTIVE = ((("active", "true"),), (("active", "false"),))

SUBSCRIPTION_ITEM = Child(
    name="subscription_item",
    table="subscription_items",
    path=("items",),
    list_path="/v1/subscription_items?subscription={id}",
    columns=(
        *timestamps("created current_period_start current_period_end"),
        *texts("subscription price.id price.product price.currency price.recurring.interval"),
        *numbers("quantity price.unit_amount price.recurring.interval_count"),
    ),
)

SUBSCRIPTION_RESOURCES = (
    Resource(
        name="subscription",
        object="subscription",
        table="subscriptions",
        list_path="/v1/subscriptions",
        group=Group.BILLING,
        permission="subscription",
        toggle="Subscriptions",
        columns=(
            *timestamps("created start_date billing_cycle_anchor trial_start trial_end"),
            *timestamps("cancel_at canceled_at ended_at"),
            *texts("status customer currency collection_method latest_invoice default_payment_method"),
            *texts("schedule description cancellation_details.reason test_clock"),
            *booleans("cancel_at_period_end"),
            *numbers("days_until_due"),
        ),
        # `deleted` is Stripe's word for cancelled: the object lives on.
        events=event_types(
            "customer.subscription",
            "created deleted paused pending_update_applied pending_update_expired resumed trial_will_end updated",
        ),
        has_created_filter=True,
        walks=((("status", "all"),),),
        children=(SUBSCRIPTION_ITEM,),
        hidden=(
            "Subscriptions of a test clock are in no list of Stripe's. They come with their events.",
            "`discounts` has ids alone. What a discount takes off stands in its coupon.",
        ),
    ),
    Resource(
        name="subscription_schedule",
        object="subscription_schedule",
        table="subscription_schedules",
        list_path="/v1/subscription_schedules",
        group=Group.BILLING,
        permission="subscription",
        toggle="Subscriptions",
        columns=(
            *timestamps("created canceled_at completed_at released_at"),
            *timestamps("current_phase.start_date current_phase.end_date"),
            *texts("status customer subscription released_subscription end_behavior test_clock"),
        ),
        events=event_types("subscription_schedule", "aborted canceled completed created expiring released updated"),
        has_created_filter=True,
        is_default=False,
    ),
)

PRICING_RESOURCES = (
    Resource(
        name="price",
        object="price",
        table="prices",
        list_path="/v1/prices",
        group=Group.BILLING,
        permission="plan",
        toggle="Prices",
        columns=(
            *timestamps("created"),
            *numbers("unit_amount recurring.interval_count recurring.trial_period_days"),
            *texts("product currency type nickname lookup_key billing_scheme tiers_mode tax_behavior"),
            *texts("unit_amount_decimal recurring.interval recurring.usage_type recurring.meter"),
            *booleans("active"),
        ),
        events=event_types("price", "created deleted updated"),
        deleted_by=("price.deleted",),
        has_created_filter=True,
        walks=ACTIVE_AND_INACTIVE,
        expand=("tiers", "currency_options"),
        hidden=(
            "Prices that were made inline, with a subscription or an invoice, may be in no list of Stripe's. They come "
            "with their events, and `subscription_items` has each price whole.",
        ),
    ),
    Resource(
        name="plan",
        object="plan",
        table="plans",
        list_path="/v1/plans",
        group=Group.BILLING,
        permission="plan",
        toggle="Prices",
        columns=(
            *timestamps("created"),
            *numbers("amount interval_count trial_period_days"),
            *texts("product currency interval nickname usage_type billing_scheme tiers_mode meter"),
            *texts("amount_decimal"),
            *booleans("active"),
        ),
        events=event_types("plan", "created deleted updated"),
        deleted_by=("plan.deleted",),
        has_created_filter=True,
        expand=("tiers",),
        is_default=False,
    ),
    Resource(
        name="coupon",
        object="coupon",
        table="coupons",
        list_path="/v1/coupons",
        group=Group.BILLING,
        permission="coupon",
        toggle="Coupons",
        columns=(
            *timestamps("created redeem_by"),
            *numbers("amount_off percent_off duration_in_months max_redemptions times_redeemed"),
            *texts("name currency duration"),
            *booleans("valid"),
        ),
        events=event_types("coupon", "created deleted updated"),
        deleted_by=("coupon.deleted",),
        hinted_by=("customer.discount.created",),
        named_in=("source", "coupon"),
        has_created_filter=True,
        expand=("applies_to", "currency_options"),
        changes_silently=True,
    ),
    Resource(
        name="promotion_code",
        object="promotion_code",
        table="promotion_codes",
        list_path="/v1/promotion_codes",
        group=Group.BILLING,
        permission="promotion_code",
        toggle="Promotion codes",
        columns=(
            *timestamps("created expires_at"),
            *numbers("max_redemptions times_redeemed restrictions.minimum_amount"),
            *texts("code customer promotion.type promotion.coupon restrictions.minimum_amount_currency"),
            *booleans("active restrictions.first_time_transaction"),
        ),
        events=event_types("promotion_code", "created updated"),
        hinted_by=("customer.discount.created",),
        has_created_filter=True,
        walks=ACTIVE_AND_INACTIVE,
        hidden=("The least amounts in other currencies (`restrictions.currency_options`) are not in `data`.",),
        changes_silently=True,
    ),
    Resource(
        name="trial_offer",
        object="product_catalog.trial_offer",
        table="trial_offers",
        list_path="/v1/product_catalog/trial_offers",
        group=Group.BILLING,
        permission="trial_offer",
        toggle="Trial offers",
        columns=(*texts("nickname price duration.type end_behavior.type"), *booleans("active")),
        has_created_filter=True,
        is_default=False,
        changes_silently=True,
        is_in_event_feed=False,
        permission_is_certain=False,
    ),
)
