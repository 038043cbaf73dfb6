"""The search: accounts, pages, actions and any id of Stripe's, from every page."""
