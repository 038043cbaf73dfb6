"""What a connection goes through, each step one transaction: set-up, keys, start date, choices, removal."""
