"""The official SDK, made strict: what it parses must be spelled in its models, all of it.

The SDK keeps unknown fields and forgives missing ones. Here each answer is held against the
model it is parsed into, and :class:`Seen` remembers which fields have come at all.
"""

import types
import typing
from contextlib import aclosing, asynccontextmanager
from datetime import datetime

import attrs
from pydantic import BaseModel, TypeAdapter
from unikraft_cloud.api.platform import PlatformApi
from unikraft_cloud.api.plugins.sandbox import SandboxApi
from unikraft_cloud.core.http import ApiClient, ApiClientConfig

BEYOND_THE_MODELS = {
    # Documented with the metrics' JSON format; the models have the gauges only.
    "GetInstancesMetricsResponseInstanceMetrics": {
        "state",
        "start_count",
        "restart_count",
        "started_at",
        "stopped_at",
        "uptime_ms",
        "template_time_us",
        "wakeup_latency",
        "wakeup_latency_sum",
    },
    "AuditStop": {"exit_code"},  # documented with the stream
    "InstancePlugin": {"authorization"},  # documented with bearer plugins
    # Read from the raw answer by the SDK's transport, for the models have none.
    "CreateInstanceResponse": {"warnings"},
}
"""What the product's documentation shows and the SDK's models do not declare."""


@attrs.define
class Seen:
    """Which fields came, by model."""

    fields: dict[type[BaseModel], set[str]] = attrs.field(factory=dict)

    def check(self, value, annotation, where="answer"):
        """``AssertionError`` if *value* has what *annotation* does not spell."""
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if annotation is typing.Any:
            return
        if origin in (typing.Union, types.UnionType):
            self._check_one_of(value, arguments, where)
        elif origin is list:
            assert isinstance(value, list), f"{where} is no list: {value!r}"
            for index, item in enumerate(value):
                self.check(item, arguments[0], f"{where}[{index}]")
        elif origin is dict:
            assert isinstance(value, dict), f"{where} is no object: {value!r}"
            for key, item in value.items():
                self.check(item, arguments[1], f"{where}[{key!r}]")
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            self._check_model(value, annotation, where)
        elif annotation is datetime:
            TypeAdapter(datetime).validate_python(value)
        elif isinstance(annotation, type):
            exact = type(value) is annotation or (annotation is float and type(value) is int)
            assert exact, f"{where} is no {annotation.__name__}: {value!r}"
        else:
            TypeAdapter(annotation).validate_python(value)

    def _check_one_of(self, value, choices, where):
        failures = []
        for choice in choices:
            if choice is type(None):
                continue
            try:
                return self.check(value, choice, where)
            except (AssertionError, ValueError) as error:
                failures.append(str(error))
        # An absent field is left out: null is only what the sandbox says of no payload.
        raise AssertionError("; ".join(failures))

    def _check_model(self, value, model, where):
        assert isinstance(value, dict), f"{where} is no object: {value!r}"
        declared = {field.alias or name: field for name, field in model.model_fields.items()}
        beyond = BEYOND_THE_MODELS.get(model.__name__, set())
        unknown = value.keys() - declared.keys() - beyond
        # The models of errors keep the message among their extras.
        unknown -= {"message"} if model.__name__ == "ResponseError" else set()
        assert not unknown, f"{where} has what {model.__name__} has not: {sorted(unknown)}"
        required = {name for name, field in declared.items() if field.is_required()}
        assert required <= value.keys(), f"{where} lacks {sorted(required - value.keys())}"
        self.fields.setdefault(model, set()).update(value)
        for name, item in value.items():
            if name in declared and not (item is None and model.__name__ in _NULLS):
                self.check(item, declared[name].annotation, f"{where}.{name}")

    def never_seen(self):
        """Fields that never came, as ``Model.field``, of the models that did.

        What any failure looks like is left out: not each of them has to be brought about.
        """
        return {
            f"{model.__name__}.{name}"
            for model, seen in self.fields.items()
            for name in (field.alias or key for key, field in model.model_fields.items())
            if name not in seen and not ("status" in seen and name in _OF_FAILURES)
        }


_OF_FAILURES = {"error", "errors", "message"}

_NULLS = {"EmptyResponse", "GetCommandData"}
"""Of the sandbox plugin, where null is documented: no payload, and no exit code yet."""


def _strict(client: ApiClient, seen: Seen) -> None:
    lenient = client.request
    lenient_stream = client.stream

    async def request(model, **kwargs):
        raw = await lenient(typing.Any, **kwargs)
        seen.check(raw, model)
        return TypeAdapter(model).validate_python(raw)

    async def stream(model, **kwargs):
        async with aclosing(lenient_stream(typing.Any, **kwargs)) as events:
            async for raw in events:
                seen.check(raw, model)
                yield TypeAdapter(model).validate_python(raw)

    client.request = request
    client.stream = stream


@attrs.frozen
class StrictSdk:
    """The plumbing clients of the SDK, which mirror the specification call by call."""

    platform: PlatformApi
    config: ApiClientConfig
    seen: Seen

    def sandbox(self, uuid: str) -> SandboxApi:
        api = SandboxApi(self.config).for_instance(uuid)
        _strict(api.client, self.seen)
        return api


@asynccontextmanager
async def strict_sdk(base_url: str, token: str, seen: Seen):
    config = ApiClientConfig(base_url=base_url, token=token, timeout=30)
    async with PlatformApi(config) as platform:
        for client in vars(platform).values():
            if isinstance(client, ApiClient):
                _strict(client, seen)
        yield StrictSdk(platform, platform.config, seen)
