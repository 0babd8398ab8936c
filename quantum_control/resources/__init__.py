"""Adapters: the real things whose size can be measured and set."""
