"""A Stripe that runs on a laptop: the API, webhooks and a small business that lives in it."""
