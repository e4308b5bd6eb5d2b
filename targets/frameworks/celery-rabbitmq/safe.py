"""The settings that keep a task until it is done; see celery-rabbitmq-safe.toml."""

task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
task_default_queue_type = "quorum"
broker_transport_options = {"confirm_publish": True}
