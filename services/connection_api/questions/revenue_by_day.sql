-- title: Revenue by day
-- sentence: What customers paid each day, less what they got back. Fees and disputes are not taken off.
-- needs: charge, refund
-- columns: day date, currency text, paid amount, refunded amount, revenue amount, payments number
SELECT day, upper(currency) AS currency, sum(paid * unit) AS paid, sum(refunded * unit) AS refunded,
       sum((paid - refunded) * unit) AS revenue, sum(payments) AS payments
FROM (
    SELECT (c.created AT TIME ZONE {zone})::date AS day, c.currency,
           c.amount_captured AS paid, 0 AS refunded, 1 AS payments
    FROM {charges} AS c
    WHERE {ours c} AND c.status = 'succeeded' AND c.amount_captured > 0
    UNION ALL
    SELECT (r.created AT TIME ZONE {zone})::date, r.currency,
           0, r.amount, 0
    FROM {refunds} AS r
    WHERE {ours r} AND coalesce(r.status, '') NOT IN ('failed', 'canceled')
) AS moved
CROSS JOIN LATERAL (SELECT {unit currency} AS unit) AS worth
GROUP BY day, currency
ORDER BY day DESC, currency
