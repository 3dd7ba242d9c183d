"""The bed: a real control plane, the simulated cloud and the daemon, as loopback processes."""
