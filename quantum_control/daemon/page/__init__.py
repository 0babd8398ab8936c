"""The live page of the daemon."""
