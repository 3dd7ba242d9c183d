"""Images' configurations, read from their registries."""
