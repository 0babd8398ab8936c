"""Learning online: headroom, how fast to follow, levels of demand, and which law fits."""
