"""The pages about one account."""
