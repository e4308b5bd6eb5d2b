"""The same, with the periodic task of the documentation that retries stalled jobs."""

from tasks import app, notify

__all__ = ["app", "notify"]


@app.periodic(cron="* * * * * */10")
@app.task(queueing_lock="retry_stalled_jobs", pass_context=True)
async def retry_stalled_jobs(context, timestamp):
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)
