"""The parts of the Accounts page that tell of all accounts."""
