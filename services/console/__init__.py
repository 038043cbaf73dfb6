"""The command line: runs the stack on one machine, and speaks to the API as a person does."""
