"""A Kubernetes cluster of one node for tests, on a machine that has none.

All of it is built from pinned Go modules, but for containerd and the network plugins, which
Debian brings. It listens on the loopback only and keeps all that it writes in two folders.
"""
