"""The vocabulary that every service speaks; a module enters when two services use it."""
