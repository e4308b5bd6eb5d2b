"""The commands of ``lossmeter``; one file each, registered by existing.

Every file has a function ``command``, or a ``GROUP`` of commands. Heavy modules are imported
where they are used, so that ``--help`` answers at once.
"""
