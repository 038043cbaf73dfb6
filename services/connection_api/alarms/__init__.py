"""Alarms: somebody hears when an account needs them."""
