"""Probes and handlers of containers on the wire, by kubelet's rules; what follows is for others."""
