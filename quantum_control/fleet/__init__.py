"""Past one machine: many resources at once, shared budgets, other people's engines."""
