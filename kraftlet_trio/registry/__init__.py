"""A small reader of OCI registries. It knows neither Kubernetes nor Unikraft Cloud."""
