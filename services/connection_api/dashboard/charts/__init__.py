"""Pictures of series, made on the server: SVG that both themes colour, with the words and the table beside it."""
