"""Questions that are ready to be asked: each a file of SQL with its sentence, and what asks them."""
