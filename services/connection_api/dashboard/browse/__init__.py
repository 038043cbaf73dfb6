"""The pages of an account's data: its tables, their rows, and one object."""
