"""What goes wrong; one file per fault, registered by existing.

Each file offers ``build(parameters) -> Fault`` and sees nothing but ``harness.site``.
"""
