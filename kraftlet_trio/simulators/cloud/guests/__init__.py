"""Programs that the default catalogue's images run under the process runtime."""
