"""The questions; one file each. Every file defines ``EXPERIMENT``."""
