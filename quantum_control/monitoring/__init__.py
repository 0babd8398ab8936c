"""What others see of a controller."""
