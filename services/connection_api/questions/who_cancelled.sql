-- title: Who cancelled
-- sentence: Subscriptions that were cancelled, newest first, with their end and the reason.
-- needs: subscription
-- also: customer
-- columns: cancelled_at time, subscription text, customer text, email text, status text, ends_at time, reason text
SELECT s.canceled_at AS cancelled_at, s.id AS subscription, s.customer, u.email, s.status,
       coalesce(s.ended_at, s.cancel_at) AS ends_at, s.cancellation_details_reason AS reason
FROM {subscriptions} AS s
LEFT JOIN {customers} AS u ON {ours u} AND u.id = s.customer
WHERE {ours s} AND s.canceled_at IS NOT NULL
ORDER BY s.canceled_at DESC, s.id
