"""What runs by itself: answering, pulling, reading deliveries, recovery."""
