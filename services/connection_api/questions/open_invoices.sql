-- title: Open invoices
-- sentence: Invoices that are sent and not paid, the longest due first.
-- needs: invoice
-- columns: invoice text, number text, customer text, email text, created time, due time, amount_due amount, still_owed amount, currency text, attempts number
SELECT i.id AS invoice, i.number, i.customer, i.customer_email AS email, i.created, i.due_date AS due,
       i.amount_due * unit AS amount_due, i.amount_remaining * unit AS still_owed, upper(i.currency) AS currency, i.attempt_count::bigint AS attempts
FROM {invoices} AS i
CROSS JOIN LATERAL (SELECT {unit i.currency} AS unit) AS worth
WHERE {ours i} AND i.status = 'open'
ORDER BY coalesce(i.due_date, i.created), i.id
