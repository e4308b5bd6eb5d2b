"""First target files: what is known of a framework beforehand, and of a repository by looking.

Each framework says how its workers are started, how they say that they are up, by which call an
event is handed over, and where it waits. What only its owner knows, the table and the call, is
asked for; what a repository gives away is the default.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lossmeter.errors import UsageError
from lossmeter.plan.tables import read_text

# What says which packages a repository uses.
_DEPENDENCIES = (
    *("pyproject.toml", "requirements.txt", "requirements.in", "Pipfile", "setup.cfg", "setup.py"),
    *("requirements/*.txt", "requirements/*.in", "package.json", "go.mod"),
)
_SOURCES, _MOST_SOURCES = "**/*.py", 2000
# What says where a broker is.
_SETTINGS = (".env", ".env.*", "*.env", "compose*.y*ml", "docker-compose*.y*ml")
_HIDDEN = re.compile(r"(^|/)(\.|node_modules/|venv/|site-packages/)")

QUERY = "select producer, sequence from $table"


@dataclass(frozen=True, slots=True)
class Framework:
    """What is known of a framework.

    Attributes:
        title: as its makers write it.
        packages: whose use gives it away.
        services: the servers that it needs, beside the database.
        command: starts its workers; ``$app`` is the module that it is given.
        ready: a line in the log of a worker that is up; empty for none that is known.
        call: hands an event over, ``$app`` likewise; empty where events come by HTTP or Kafka.
        arguments: of that call.
        app: a pattern that finds the module's line; its first group is the variable.
        queue: the table ``[queue]``; empty where nobody knows it beforehand.
        broker: the variable that usually names the broker.
        instead_of: the kind that it is on another broker, which ``sign`` gives away.
        sign: a pattern of any text in the repository.
    """

    title: str
    packages: tuple[str, ...]
    services: tuple[str, ...] = ("redis",)
    command: str = ""
    ready: str = ""
    call: str = ""
    arguments: str = '["$$producer", "$$sequence", "$$payload"]'
    app: str = ""
    queue: str = ""
    broker: str = "REDIS_URL"
    instead_of: str = ""
    sign: str = ""


# Of a task's body, JSON: a list of its arguments comes first.
_FIRST_ARGUMENTS = r"""'^\[\["?(?P<producer>\d+)"?, "?(?P<sequence>\d+)'"""

_CELERY = Framework(
    "Celery",
    ("celery",),
    command="celery -A $app worker -l INFO",
    ready="ready.",
    call="$app:notify.delay",
    app=r"^(\w+)\s*=\s*Celery\(",
    queue=(
        '{kind = "redis", keys = ["celery"], pending = {keys = ["celery", "unacked"], '
        'pointer = ["/body", "/0/body"], encoding = ["base64"], '
        f"pattern = {_FIRST_ARGUMENTS}}}}}"
    ),
    broker="CELERY_BROKER_URL",
)

FRAMEWORKS: Mapping[str, Framework] = {
    "celery": _CELERY,
    "celery-rabbitmq": replace(
        _CELERY,
        title="Celery on RabbitMQ",
        packages=(),
        services=("rabbitmq",),
        queue=f'{{kind = "amqp", queues = ["celery"], pending = {{pattern = {_FIRST_ARGUMENTS}}}}}',
        instead_of="celery",
        sign=r"\b(?:py)?amqps?://",
    ),
    "rq": Framework(
        "RQ",
        ("rq",),
        command="rq worker --url {redis.url}",
        ready="Listening on",
        call="$app:queue.enqueue",
        arguments='["$app.notify", "$$producer", "$$sequence", "$$payload"]',
        app=r"^(\w+)\s*=\s*Queue\(",
        queue='{kind = "redis", keys = ["rq:queue:default", "rq:wip:default"]}',
    ),
    "dramatiq": Framework(
        "Dramatiq",
        ("dramatiq",),
        command="dramatiq $app",
        ready="is ready for action",
        call="$app:notify.send",
        app=r"^()@(?:dramatiq\.)?actor",
        queue=(
            '{kind = "redis", keys = ["dramatiq:default"], pending = {keys = '
            '["dramatiq:default.msgs", "dramatiq:default.DQ.msgs", "dramatiq:default.XQ.msgs"], '
            r"""pattern = '"args":\s*\[(?P<producer>\d+),\s*(?P<sequence>\d+)'}}"""
        ),
    ),
    "arq": Framework("arq", ("arq",), command="arq $app.WorkerSettings", call="$app:enqueue"),
    "taskiq": Framework(
        "Taskiq", ("taskiq",), command="taskiq worker $app:broker", call="$app:enqueue"
    ),
    "procrastinate": Framework(
        "Procrastinate",
        ("procrastinate",),
        services=(),
        command="procrastinate --app=$app.app worker",
        call="$app:notify.defer",
        arguments='[]\nkeywords = {producer = "$$producer", sequence = "$$sequence"}',
        broker="DATABASE_URL",
    ),
    "kafka": Framework(
        "a Kafka consumer",
        ("confluent-kafka", "kafka-python", "aiokafka", "faststream", "kafkajs", "sarama"),
        services=("kafka",),
        command="python $app.py",
        queue='{kind = "kafka", topic = "events", group = "consumer"}',
    ),
    "http": Framework(
        "an HTTP service",
        ("flask", "fastapi", "starlette", "django", "aiohttp", "express", "fastify"),
        services=(),
        command="python $app.py",
    ),
}
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Found:
    """What a repository gives away.

    Attributes:
        kinds: frameworks that it uses, the likeliest first, each with the file that says so.
        modules: the module of each of those, where a line of it was found.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


def look(folder: Path) -> Found:
    """Return what the files of a repository say; it is only read."""
    texts = {str(p.relative_to(folder)): _text(p) for g in _DEPENDENCIES for p in folder.glob(g)}
    kinds = {
        kind: name
        for kind, framework in FRAMEWORKS.items()
        for name, text in texts.items()
        if any(_uses(text, package) for package in framework.packages)
    }
    modules: dict[str, str] = {}
    signed = _signed(_text(path) for pattern in _SETTINGS for path in folder.glob(pattern))
    for path in sorted(folder.glob(_SOURCES))[:_MOST_SOURCES]:
        name = path.relative_to(folder).as_posix()
        if _HIDDEN.search(name):
            continue
        text = _text(path)
        signed |= _signed([text])
        for kind, framework in FRAMEWORKS.items():
            if framework.app and re.search(framework.app, text, re.MULTILINE):
                module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                modules.setdefault(kind, module)
    kinds |= {kind: kinds[of] for kind in signed if (of := FRAMEWORKS[kind].instead_of) in kinds}
    for kind in signed & set(kinds):
        kinds.pop(FRAMEWORKS[kind].instead_of, None)
    likely = sorted(kinds, key=lambda kind: (kind not in modules, kind == "http"))
    return Found({kind: kinds[kind] for kind in likely}, modules)


def target_file(kind: str, name: str, app: str, table: str) -> str:
    """Return the text of a first target file.

    Args:
        kind: one of ``FRAMEWORKS``, or ``OTHER``.
        name: of the target.
        app: the module of the application.
        table: that the events are inserted into.
    """
    framework = FRAMEWORKS.get(kind, FRAMEWORKS["http"])
    asked = {"app": app, "table": table}

    def put_in(text: str) -> str:
        return string.Template(text).substitute(asked)

    servers = ", ".join(f'"{each}"' for each in ("postgres", *framework.services))
    level = "broker" if framework.services or kind == "procrastinate" else "enqueued"
    words = ", ".join(f'"{word}"' for word in put_in(framework.command).split())
    lines = [
        f"# {framework.title}: what lossmeter is told of it. `lossmeter check {name}` tries it.",
        f'name = "{name}"',
        f'summary = "{framework.title}, as it is"',
        f'ack_level = "{level}"  # what an ack claims: enqueued, broker or database',
        f"services = [{servers}]  # real servers that lossmeter starts for it",
        f"proxied = [{servers}]  # of these, those that it reaches through a proxy",
    ]
    if framework.queue:
        lines.append(f"queue = {framework.queue}  # its length, and what waits in it")
    lines += ["", *_ingress(framework, kind, put_in)]
    lines += ["[[process]]", 'name = "main"', f"command = [{words}]", 'folder = "../.."']
    if framework.ready:
        lines.append(f'health = {{log = "{framework.ready}"}}  # in the log of one that is up')
    lines += ["[process.environment]", *_environment(framework, kind)]
    lines += ["", "[persisted]  # must return the ids of every event that was persisted"]
    lines.append(f'query = "{put_in(QUERY)}"')
    return "\n".join(lines) + "\n"


def extras(kind: str) -> tuple[str, ...]:
    """Return the extras of lossmeter that bring the servers of a first target file."""
    framework = FRAMEWORKS.get(kind, FRAMEWORKS["http"])
    return ("postgres", *framework.services)


def _ingress(framework: Framework, kind: str, put_in: Callable[[str], str]) -> list[str]:
    """Return the lines that say how events come."""
    if framework.call:
        return [
            "[ingress]  # for each event your own code is called; the id must travel with it",
            'kind = "python"',
            'python = "python"  # the interpreter of your environment',
            f'call = "{put_in(framework.call)}"',
            f"arguments = {put_in(framework.arguments)}",
            'folder = "../.."',
            f'environment = {{{framework.broker} = "{_url(framework)}"}}',
            "",
        ]
    if kind == "kafka":
        return ["[ingress]", 'kind = "kafka"', 'topic = "events"', ""]
    return [
        "[http]",
        'events = "/events"  # posted to, a JSON object with producer, sequence and payload',
        'health = "/healthz"  # answers 200 once it is up',
        "accepted = [200, 201, 202]",
        "refused = [400, 422, 429]  # only answers that provably had no effect",
        "",
    ]


def _environment(framework: Framework, kind: str) -> list[str]:
    lines = ['DATABASE_URL = "{postgres.url}"']
    if kind == "kafka":
        lines += ['BROKERS = "{kafka.address}"', 'BROKERS_USERNAME = "{kafka.username}"']
        lines += ['BROKERS_PASSWORD = "{kafka.password}"']
    elif framework.services:
        lines.append(f'{framework.broker} = "{_url(framework)}"')
    if not framework.call and kind != "kafka":
        lines.append('PORT = "{port}"')
    return lines


def _url(framework: Framework) -> str:
    return f"{{{framework.services[0]}.url}}" if framework.services else "{postgres.url}"


def _signed(texts: Iterable[str]) -> set[str]:
    """Return the kinds that a text gives away."""
    of_others = {kind: each.sign for kind, each in FRAMEWORKS.items() if each.sign}
    return {kind for text in texts for kind, sign in of_others.items() if re.search(sign, text)}


def _uses(text: str, package: str) -> bool:
    """Return whether a file that lists dependencies names a package."""
    name = re.escape(package).replace(r"\-", "[-_]")
    return re.search(rf"(?<![\w/-]){name}(?![\w-])", text, re.IGNORECASE) is not None


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except UsageError:
        return ""
