"""Calls a function of the user's for each event; run by path in the user's own interpreter.

Standard library only, and nothing of lossmeter. What the user's code prints goes to the
error output: the answers have the standard output for themselves.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import queue
import string
import sys
import threading
import traceback
from typing import Any


def main() -> int:
    """Answer each event of the standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    asked = json.loads(os.environ.pop("LOSSMETER_INGRESS_OPTIONS"))
    # The script's own folder holds modules of common names; the user's code is found from
    # the working folder, as `python -m` finds it.
    sys.path[0] = os.getcwd()  # noqa: PTH109 - without pathlib, this starts sooner
    try:
        call = resolve(asked["call"])
    except Exception as error:  # noqa: BLE001 - whatever the user's module raises
        traceback.print_exc()
        why = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"ingress.call {asked['call']!r} cannot be had: {why}\n")
        return 4
    if inspect.iscoroutinefunction(call):
        call = waited_for(call)
    events: queue.SimpleQueue[str] = queue.SimpleQueue()
    lock = threading.Lock()

    def work() -> None:
        while line := events.get():
            event = json.loads(line)
            word = outcome(call, event, asked)
            with lock:
                answers.write(f"{word} {event['id']}\n")

    threads = [threading.Thread(target=work) for _ in range(asked["threads"])]
    for thread in threads:
        thread.start()
    answers.write("ready\n")
    for line in sys.stdin:
        events.put(line)
    for _ in threads:
        events.put("")
    for thread in threads:
        thread.join()
    return 0


def resolve(name: str) -> Any:
    """Return what ``module:object.attribute`` names."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} cannot be called: it is {type(found).__name__}")
    return found


def waited_for(call: Any) -> Any:
    """Return a plain function that runs a coroutine function; all run on one event loop."""
    import asyncio  # noqa: PLC0415 - without it, this starts sooner

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def called(*arguments: Any, **keywords: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call(*arguments, **keywords), loop).result()

    return called


def outcome(call: Any, event: dict[str, Any], asked: dict[str, Any]) -> str:
    """Call the function for one event; return the word for what that proves."""
    plain = asked["arguments"] is None and not asked["keywords"]
    fields = {name: event[name] for name in ("producer", "sequence", "payload")}
    try:
        if plain:
            call(fields)
        else:
            call(
                *(filled(each, fields) for each in asked["arguments"] or ()),
                **{name: filled(each, fields) for name, each in asked["keywords"].items()},
            )
    except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
        kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
        if kinds & set(asked["refused"]):
            return "refused"
        traceback.print_exc()
        return "unknown"
    return "ok"


def filled(value: Any, fields: dict[str, Any]) -> Any:
    """Return an argument with the event's fields put in."""
    if isinstance(value, str):
        for name in ("producer", "sequence"):
            if value == f"${name}":
                return fields[name]
        return string.Template(value).safe_substitute(fields)
    if isinstance(value, list):
        return [filled(each, fields) for each in value]
    if isinstance(value, dict):
        return {name: filled(each, fields) for name, each in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main())
