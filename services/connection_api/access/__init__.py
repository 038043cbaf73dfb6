"""Who is calling and what they may do: tokens, sessions, sign-in, repeated requests."""
