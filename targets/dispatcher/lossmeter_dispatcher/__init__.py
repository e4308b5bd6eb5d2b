"""The reference dispatcher: a bounded queue, workers, a handler, an insert.

It knows nothing of the harness that measures it. Started as ``python -m lossmeter_dispatcher``
and configured by environment variables alone; ``config`` lists them.
"""
