"""The daemon: many resources in one process, and another one that puts everything back."""
