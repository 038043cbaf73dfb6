-- title: Failed payments
-- sentence: Payments that were declined, newest first, with the reason and whom to ask.
-- needs: charge
-- also: customer
-- columns: failed_at time, charge text, amount amount, currency text, customer text, email text, code text, reason text
SELECT c.created AS failed_at, c.id AS charge, c.amount * unit AS amount, upper(c.currency) AS currency,
       c.customer, coalesce(u.email, c.receipt_email) AS email, c.failure_code AS code, c.failure_message AS reason
FROM {charges} AS c
CROSS JOIN LATERAL (SELECT {unit c.currency} AS unit) AS worth
LEFT JOIN {customers} AS u ON {ours u} AND u.id = c.customer
WHERE {ours c} AND c.status = 'failed'
ORDER BY c.created DESC, c.id
