"""Learning online: headroom, gains, levels of demand, and which law fits."""
