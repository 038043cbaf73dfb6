-- title: MRR
-- sentence: What subscriptions bring in a month, before discounts and tax. Usage and tiered prices are not counted.
-- needs: subscription
-- columns: currency text, mrr amount, subscriptions number, not_counted number
-- A year has 12 months, 52 weeks and 365 days. Trials don't pay yet, so they are left out.
SELECT upper(currency) AS currency,
       round(coalesce(sum(a_year * unit), 0) / 12, scale(unit)) AS mrr,
       count(DISTINCT subscription) AS subscriptions, count(*) FILTER (WHERE a_year IS NULL) AS not_counted
FROM (
    SELECT s.id AS subscription, i.price_currency AS currency,
           CASE WHEN i.data -> 'price' -> 'recurring' ->> 'usage_type' IS DISTINCT FROM 'metered' THEN
               coalesce(i.price_unit_amount, (i.data -> 'price' ->> 'unit_amount_decimal')::numeric) * i.quantity
               * CASE i.price_recurring_interval
                     WHEN 'year' THEN 1 WHEN 'month' THEN 12 WHEN 'week' THEN 52 WHEN 'day' THEN 365
                 END / coalesce(i.price_recurring_interval_count, 1)
           END AS a_year
    FROM {subscriptions} AS s
    JOIN {subscription_items} AS i ON {ours i} AND i._parent = s.id
    WHERE {ours s} AND s.status IN ('active', 'past_due')
) AS items
CROSS JOIN LATERAL (SELECT {unit currency} AS unit) AS worth
GROUP BY currency, unit
ORDER BY mrr DESC, currency
