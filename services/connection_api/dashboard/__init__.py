"""The pages: rendered on the server, live by server-sent events, thin over the same use cases as REST."""
