"""The settings that keep a task until it is done; see celery-redis-safe.toml."""

task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
broker_transport_options = {"visibility_timeout": 15}
