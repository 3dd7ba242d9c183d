"""A virtual Kubernetes node whose containers are Unikraft Cloud instances."""

__version__ = "0.1.0"
