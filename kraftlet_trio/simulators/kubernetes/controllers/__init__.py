"""What makes a cluster of an API server: each controller one loop over what it watches."""
