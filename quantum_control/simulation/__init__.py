"""Plants, loads and the laws we compare with: everything needed to try a law without a live resource."""
