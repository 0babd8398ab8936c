"""The demonstration: a real pool under real load, steered and not."""
