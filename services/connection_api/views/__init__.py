"""What pages and operations read: each view returns frozen dataclasses."""
