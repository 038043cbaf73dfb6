"""Dead letters, as people see them and what they do to them."""
