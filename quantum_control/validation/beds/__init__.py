"""The real parts on which experiments run, one module for each resource."""
