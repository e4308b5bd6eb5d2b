"""What goes wrong; one file per fault, registered by existing.

Each file defines one class derived from ``lossmeter.faults._fault.Fault``, and sees nothing
of the world but ``lossmeter.world.site``.
"""
