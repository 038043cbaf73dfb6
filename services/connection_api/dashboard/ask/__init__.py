"""The page that asks ready questions about one account's rows."""
