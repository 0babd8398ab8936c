"""Benchmarks behind `quantum-control bench`."""
