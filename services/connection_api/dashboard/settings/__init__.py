"""The pages about the installation's settings."""
