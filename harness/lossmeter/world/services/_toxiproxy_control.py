"""Commands one Toxiproxy by the library toxiproxy-python, and knows what it commanded.

The library lacks what a measurement needs: its requests wait for ever, a 500 counts as
success, the server's address belongs to the whole process, and proxies of the environment
are asked. All its classes speak through one class, so a class of our own stands in for that
one while a command is given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from lossmeter.errors import AbsentError, ServiceError
from lossmeter.model import Address
from lossmeter.world import http_client
from lossmeter.world.service import Slot
from lossmeter.world.site import Toxic

_ANSWER_S = 1.0
_COMMAND_S = 5.0
# In each answer of the server that is built here: how many commands it has taken so far.
COMMANDS = "Toxiproxy-Commands"
# The library's classes find that one class in their modules, which all threads share.
_LIBRARY = threading.RLock()


@dataclass(frozen=True, slots=True)
class State:
    """One proxy, as commanded or as the server describes it.

    Attributes:
        listen, upstream: where it listens and leads to.
        enabled: it accepts connections.
        toxics: its disturbances by name; a toxicity of 1 hits every connection.
    """

    listen: str
    upstream: str
    enabled: bool
    toxics: Mapping[str, Toxic]


class Commands:
    """Tells from the number in a server's answers whether somebody else gave it commands."""

    def __init__(self) -> None:
        self.others = False
        self._taken: int | None = None

    def heard(self, taken: str | None, *, own: bool) -> None:
        """Take the number from an answer, if it has one; ``own``: it answers a command."""
        if taken is None:
            return
        now = int(taken)
        if self._taken is not None and now != self._taken + own:
            self.others = True
        self._taken = now

    def unanswered(self) -> None:
        """Note that it is not known whether the server took the last command."""
        self._taken = None


class Proxies:
    """The proxies of one server."""

    def __init__(self, slot: Slot) -> None:
        self._control = slot.listen
        self._headers = {"Authorization": f"Bearer {slot.password}"}
        self._commanded: dict[str, State] = {}
        self._commands = Commands()
        self._one_at_a_time = threading.RLock()

    def create(self, name: str, listen: Address, upstream: Address) -> None:
        """Put a proxy called ``name`` in front of ``upstream``.

        Raises:
            ServiceError: the server cannot be reached, or refuses it.
        """
        with self._speaking(f"create {name}") as toxiproxy:
            made = toxiproxy.create(str(upstream), name, str(listen), enabled=True)
            # Of all addresses at once the server knows its own way of writing them.
            self._commanded[name] = State(made.listen, str(upstream), enabled=True, toxics={})

    def remove_all(self) -> None:
        """Take all proxies away, which closes their connections.

        Raises:
            ServiceError: the server cannot be reached.
        """
        with self._speaking("remove all") as toxiproxy:
            toxiproxy.destroy_all()
            self._commanded.clear()

    def disable(self, name: str) -> None:
        """Close a proxy's connections and refuse new ones.

        Raises:
            ServiceError: there is none of that name, or the server cannot be reached.
        """
        self._switch(name, enabled=False)

    def enable(self, name: str) -> None:
        """Accept connections again.

        Raises:
            ServiceError: as for ``disable``, or its port was taken meanwhile.
        """
        self._switch(name, enabled=True)

    def _switch(self, name: str, *, enabled: bool) -> None:
        with self._speaking(f"{'enable' if enabled else 'disable'} {name}") as toxiproxy:
            proxy = self._proxy(toxiproxy, name)
            (proxy.enable if enabled else proxy.disable)()
            self._note(name, enabled=enabled)

    def add(self, proxy: str, toxic: Toxic) -> None:
        """Disturb a proxy's connections, those that exist included.

        Raises:
            ServiceError: as for ``disable``, or the server does not know such a toxic.
        """
        with self._speaking(f"add {toxic.name} to {proxy}") as toxiproxy:
            wanted = asdict(toxic) | {"type": toxic.kind, "attributes": dict(toxic.attributes)}
            self._proxy(toxiproxy, proxy).add_toxic(**wanted)
            self._note(proxy, added=toxic)

    def lift(self, proxy: str, toxic: str) -> None:
        """Remove one disturbance.

        Raises:
            AbsentError: there is none of that name.
            ServiceError: the server cannot be reached.
        """
        with self._speaking(f"lift {toxic} from {proxy}") as toxiproxy:
            self._proxy(toxiproxy, proxy).destroy_toxic(toxic)
            self._note(proxy, lifted=toxic)

    def list(self) -> dict[str, State]:
        """Return all proxies by name, as the server describes them.

        Raises:
            ServiceError: the server cannot be reached.
        """
        with self._speaking("list") as toxiproxy:
            return {name: _state(proxy) for name, proxy in toxiproxy.proxies().items()}

    def not_commanded(self) -> str | None:
        """Return what is other than commanded from here, in one sentence, or None.

        Raises:
            ServiceError: the server cannot be reached.
        """
        with self._one_at_a_time:
            there, wanted = self.list(), self._commanded
        for name in sorted(there.keys() | wanted.keys()):
            if (seen := there.get(name)) != (right := wanted.get(name)):
                return (
                    f"the proxy in front of {name} is not as the harness set it, somebody else "
                    f"gave Toxiproxy commands: it is {_described(seen)}, and was set to "
                    f"{_described(right)}"
                )
        if self._commands.others:
            return "somebody else gave Toxiproxy commands, and took back what they had done"
        return None

    def _note(
        self,
        name: str,
        *,
        enabled: bool | None = None,
        added: Toxic | None = None,
        lifted: str = "",
    ) -> None:
        known = self._commanded.get(name)
        if known is not None:
            toxics = {key: toxic for key, toxic in known.toxics.items() if key != lifted}
            toxics |= {added.name: _without_zeros(added)} if added else {}
            now = known.enabled if enabled is None else enabled
            self._commanded[name] = State(known.listen, known.upstream, now, toxics)

    def _proxy(self, toxiproxy: Any, name: str) -> Any:
        proxy = toxiproxy.get_proxy(name)
        if proxy is None:
            raise AbsentError(f"toxiproxy on {self._control} refused: it has no proxy {name}")
        return proxy

    @contextmanager
    def _speaking(self, command: str) -> Iterator[Any]:
        """Give a command by the library.

        Raises:
            ServiceError: the server does not answer in time, or refuses.
        """
        import requests  # noqa: PLC0415 - heavy, and the CLI must start fast
        from toxiproxy import (  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy
            Toxiproxy,
            exceptions,
            proxy,
            server,
        )

        what = f"toxiproxy on {self._control}"
        before = server.APIConsumer
        with self._one_at_a_time, _LIBRARY:
            try:
                proxy.APIConsumer = server.APIConsumer = self._consumer(before)
                yield Toxiproxy()
            except exceptions.NotFound as error:
                raise AbsentError(f"{what} refused to {command}: {_text(error)}") from None
            except (exceptions.ProxyExists, exceptions.InvalidToxic) as error:
                raise ServiceError(f"{what} refused to {command}: {_text(error)}") from None
            except requests.RequestException as error:
                raise ServiceError(f"{what} did not answer to {command}: {_why(error)}") from None
            finally:
                proxy.APIConsumer = server.APIConsumer = before

    def _consumer(self, base: type[Any]) -> type[Any]:
        """Return the library's class with our address, time-outs, secret and checks."""
        import requests  # noqa: PLC0415 - heavy, and the CLI must start fast
        from toxiproxy.api import (  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy
            validate_response,
        )

        control, headers, commands = self._control, self._headers, self._commands

        def ask(method: str, url: str, **more: Any) -> Any:
            with requests.Session() as session:
                # Neither proxies nor passwords of the environment: the server is right here.
                session.trust_env = False
                try:
                    answer = session.request(
                        method,
                        f"http://{control}{url}",
                        headers=headers,
                        timeout=_COMMAND_S,
                        allow_redirects=False,
                        **more,
                    )
                except requests.RequestException:
                    commands.unanswered()
                    raise
                commands.heard(answer.headers.get(COMMANDS), own=method != "get")
                validate_response(answer)
            if answer.status_code // 100 != 2:
                raise ServiceError(
                    f"toxiproxy on {control} failed at {method} {url} with "
                    f"{answer.status_code}: {_text(answer.content)}"
                )
            return answer

        methods = {name: staticmethod(partial(ask, name)) for name in ("get", "post", "delete")}
        return type("Consumer", (base,), methods)


def version(slot: Slot) -> str | None:
    """Return the version that a server gives; None while it does not answer."""
    headers = {"Authorization": f"Bearer {slot.password}"}
    answer = http_client.ask(f"http://{slot.listen}/version", _ANSWER_S, headers=headers)
    described = answer.json_object() if answer is not None and answer.ok else None
    return str(described["version"]) if described and "version" in described else None


def is_open(slot: Slot) -> bool:
    """Return whether a server answers who does not show the secret."""
    answer = http_client.ask(f"http://{slot.listen}/version", _ANSWER_S)
    return answer is not None and answer.ok


def _state(proxy: Any) -> State:
    toxics = {
        name: _without_zeros(
            Toxic(name, toxic.type, toxic.stream, toxic.toxicity, toxic.attributes)
        )
        for name, toxic in proxy.toxics().items()
    }
    return State(proxy.listen, proxy.upstream, proxy.enabled, toxics)


def _without_zeros(toxic: Toxic) -> Toxic:
    """Return a toxic without attributes of 0: the server adds those that it was not given."""
    kept = {name: value for name, value in toxic.attributes.items() if value}
    return replace(toxic, attributes=kept)


def _described(state: State | None) -> str:
    if state is None:
        return "not there"
    toxics = ", ".join(f"{t.name} {t.kind} {dict(t.attributes)}" for t in state.toxics.values())
    on = "enabled" if state.enabled else "disabled"
    return f"{on}, from {state.listen} to {state.upstream}, disturbed by {toxics or 'nothing'}"


def _why(error: BaseException) -> str:
    """Return the kind of an error, and what the system gave as its cause."""
    cause = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    return type(error).__name__ + ("" if cause is error else f", {cause}")


def _text(said: object) -> str:
    content = said.args[0] if isinstance(said, Exception) and said.args else said
    return content.decode(errors="replace").strip() if isinstance(content, bytes) else str(content)
