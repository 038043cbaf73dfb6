-- title: Fees and net by payout
-- sentence: What became available between two automatic payouts, beside what was paid out. It is an estimate by date.
-- needs: payout, balance_transaction
-- columns: payout text, created time, arrives time, status text, currency text, gross amount, fees amount, net amount, paid_out amount
-- Stripe does not tell here which transactions a payout holds. So each counts for the first payout after it was
-- available. What was there before the first payout, and payouts that failed, can make the two differ.
WITH paid AS (
    SELECT p.id, p.created, p.arrival_date, p.status, p.currency, p.amount,
           lag(p.created) OVER (PARTITION BY p.currency ORDER BY p.created, p.id) AS since
    FROM {payouts} AS p
    WHERE {ours p} AND p.automatic AND p.status NOT IN ('failed', 'canceled')
), available AS (
    SELECT t.currency, t.available_on, sum(t.amount) AS gross, sum(t.fee) AS fees, sum(t.net) AS net
    FROM {balance_transactions} AS t
    WHERE {ours t} AND coalesce(t.reporting_category, '') NOT IN ('payout', 'payout_reversal')
    GROUP BY t.currency, t.available_on
)
SELECT p.id AS payout, p.created, p.arrival_date AS arrives, p.status, upper(p.currency) AS currency,
       coalesce(sum(a.gross), 0) * unit AS gross, coalesce(sum(a.fees), 0) * unit AS fees,
       coalesce(sum(a.net), 0) * unit AS net, p.amount * unit AS paid_out
FROM paid AS p
CROSS JOIN LATERAL (SELECT {unit p.currency} AS unit) AS worth
LEFT JOIN available AS a ON a.currency = p.currency AND a.available_on <= p.created
                        AND (p.since IS NULL OR a.available_on > p.since)
GROUP BY p.id, p.created, p.arrival_date, p.status, p.currency, p.amount, unit
ORDER BY p.created DESC, p.id
