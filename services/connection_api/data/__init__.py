"""Reads rows of destinations for a person who looks."""
