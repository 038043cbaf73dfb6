-- Certificates of the CA that a destination's server is checked with, in PEM. They are no secret.
ALTER TABLE destinations ADD COLUMN ca text;
