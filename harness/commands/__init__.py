"""The commands of ``harness``; one file each, registered by existing.

Every file has ``register(app)``. Heavy modules are imported where they are used, so that
``--help`` answers at once.
"""
