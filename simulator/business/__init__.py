"""A small seeded business: its customers subscribe, pay, ask for refunds, complain and leave."""
