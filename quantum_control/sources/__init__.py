"""Where measurements come from: what a `metric_source=` URL names."""
