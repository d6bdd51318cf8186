"""Targets by the names that the configuration gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

from observer.actions.base import Target
from observer.actions.retrain.airflow import AirflowDag, Login
from observer.actions.retrain.command import Command
from observer.actions.retrain.events import KnativeBroker, Webhook
from observer.actions.retrain.kubeflow import KubeflowPipeline
from observer.actions.traffic.kserve import InferenceService
from observer.actions.traffic.local import LocalFile, LocalSplit
from observer.actions.traffic.pairs import Experiment, HttpRoute, InferenceGraph, SeldonDeployment
from observer.actions.traffic.platform import Platform
from observer.actions.traffic.target import TrafficTarget
from observer.errors import Permanent
from observer.http import Api, bearer

Parameters = dict[str, str | int | float | bool]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Token(_Section):
    url: HttpUrl
    """Of the server."""
    token: SecretStr = SecretStr("")
    """Bearer token."""
    token_file: Path | None = None
    """A file with the token, read for each request: a projected token of Kubernetes, which is renewed."""

    def bearer(self) -> str:
        """The token, as it is now."""
        if self.token_file is None:
            return self.token.get_secret_value()
        try:
            return self.token_file.read_text()
        except OSError as error:
            raise Permanent(f"token_file: {error}") from error

    def api(self) -> Api:
        """The server, with its token."""
        return Api(str(self.url), bearer(self.bearer))


class _Named(_Token):
    version_task: str = ""
    """Task whose output is the new version; by default any of the run that has such an output."""
    version_key: Annotated[str, Field(min_length=1)] = "version"
    """Name of that output: a parameter or an artifact's metadata (Kubeflow), an XCom (Airflow)."""


class KubeflowSpec(_Named):
    """A pipeline of Kubeflow Pipelines v2."""

    type: Literal["kubeflow"] = "kubeflow"
    pipeline: Annotated[str, Field(min_length=1)]
    """Its id."""
    pipeline_version: str = ""
    """Id of its version; by default the newest."""
    experiment: str = ""
    """Id of the experiment that runs belong to; by default the server's."""
    service_account: str = ""
    """That the run's pods use; by default the server's."""
    cookie: SecretStr = SecretStr("")
    """Of a session, as `authservice_session=...`, where a proxy before the server asks for one."""
    parameters: Parameters = {}
    """Runtime parameters, beside those of the order."""

    def api(self) -> Api:
        """The server, with its token and the session's cookie."""
        cookie = self.cookie.get_secret_value()
        headers = bearer(self.bearer)
        return Api(str(self.url), lambda: {**headers(), **({"Cookie": cookie} if cookie else {})})

    def target(self) -> Target:
        """Build it."""
        return KubeflowPipeline(
            self.api(),
            self.pipeline,
            self.pipeline_version,
            self.experiment,
            self.service_account,
            self.parameters,
            self.version_task,
            self.version_key,
        )


class AirflowSpec(_Named):
    """A DAG of Airflow 3."""

    type: Literal["airflow"] = "airflow"
    dag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,250}$")]
    """Its id."""
    user: str = ""
    """Name to log in with, where there is no token."""
    password: SecretStr = SecretStr("")
    """For the name."""
    parameters: Parameters = {}
    """Put into `conf`, beside those of the order."""

    def target(self) -> Target:
        """Build it."""
        api = self.api()
        if self.user:
            login = Login(str(self.url), self.user, self.password.get_secret_value)
            api = Api(str(self.url), login, login.renew)
        return AirflowDag(api, self.dag, self.parameters, self.version_task, self.version_key)


class KnativeSpec(_Token):
    """A Knative broker that is sent a CloudEvent."""

    type: Literal["knative"] = "knative"
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")]
    """In which it is."""
    broker: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}$")] = "default"
    """Its name."""
    source: Annotated[str, Field(min_length=1)] = "/ml-observer"
    """The event's source: which service speaks."""
    secret: SecretStr = SecretStr("")
    """Signs each body (webhook: `X-Observer-Signature: sha256=` and the HMAC), and a result that comes back
    as an event without a token."""

    def target(self) -> Target:
        """Build it."""
        return KnativeBroker(self.api(), f"/{self.namespace}/{self.broker}", self.source)


class WebhookSpec(_Token):
    """Any server that is posted JSON."""

    type: Literal["webhook"] = "webhook"
    path: Annotated[str, Field(pattern=r"^/[^\s]*$")] = "/"
    """Of the request; of `local_split`, the file."""
    secret: SecretStr = SecretStr("")
    """Signs each body (webhook: `X-Observer-Signature: sha256=` and the HMAC), and a result that comes back
    as an event without a token."""
    deduplicates: bool = False
    """Whether the receiver does a request once however often it comes, by its `Idempotency-Key`. Where it
    does not, a person decides about a request whose answer was lost."""

    def target(self) -> Target:
        """Build it."""
        return Webhook(self.api(), self.path, self.secret.get_secret_value, deduplicates=self.deduplicates)


class CommandSpec(_Section):
    """A program on this machine."""

    type: Literal["command"] = "command"
    arguments: Annotated[tuple[str, ...], Field(min_length=1)]
    """Program and arguments; no shell reads them."""
    folder: Path = Path("observer-runs")
    """Where each run has a folder, with its order, log and result."""

    def target(self) -> Target:
        """Build it."""
        return Command(self.arguments, self.folder)


class _Object(_Section):
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")]
    """In which it is."""
    name: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}$")]
    """Of the object."""
    kubeconfig: str = ""
    """A file; by default the pod's service account, or the user's usual file."""

    def platform(self) -> Platform:
        """How it divides traffic."""
        raise NotImplementedError

    def witness(self) -> tuple[Platform, str] | None:
        """What else shows how traffic is divided, and its name; None for nothing."""
        return None

    def target(self) -> Target:
        """Build it."""
        try:
            from observer.actions.traffic.cluster import KubernetesObject  # noqa: PLC0415 - of an extra
        except ModuleNotFoundError as error:
            raise Permanent(
                "targets in Kubernetes need lightkube: pip install 'ml-observer[kubernetes]'"
            ) from error
        platform = self.platform()
        thing = KubernetesObject(platform.resource, self.namespace, self.name, self.kubeconfig)
        witness = self.witness()
        if witness is None:
            return TrafficTarget(platform, thing)
        other, name = witness
        seen = KubernetesObject(other.resource, self.namespace, name, self.kubeconfig)
        return TrafficTarget(platform, thing, (other, seen))


class _Arms(_Object):
    champion: Annotated[str, Field(min_length=1)]
    """Name of its entry."""
    challenger: Annotated[str, Field(min_length=1)]
    """Name of its entry."""


class RouteSpec(_Section):
    """The HTTPRoute that KServe writes for an InferenceService in Standard mode: only read."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,253}$")]
    """Of the route, in the same namespace."""
    champion: Annotated[str, Field(min_length=1)]
    """Name of its backend."""
    challenger: Annotated[str, Field(min_length=1)]
    """Name of its backend."""
    rule: Annotated[int, Field(ge=0)] = 0
    """Which of its rules, counted from 0."""


class KServeSpec(_Object):
    """A KServe InferenceService, in Knative or Standard mode, as the object itself says."""

    type: Literal["kserve"] = "kserve"
    challenger: str = ""
    """Name of the canary, in Standard mode; in Knative mode it is the latest revision."""

    route: RouteSpec | None = None
    """Standard mode: a step counts as done once this route, too, divides traffic so. KServe 0.20.0 sizes
    replicas only, and leaves its routes as they are."""

    def platform(self) -> Platform:
        """How it divides traffic."""
        return InferenceService(self.challenger)

    def witness(self) -> tuple[Platform, str] | None:
        """The route."""
        if self.route is None:
            return None
        route = self.route
        return HttpRoute(route.champion, route.challenger, route.rule), route.name


class InferenceGraphSpec(_Arms):
    """A KServe InferenceGraph; arms are the services of its steps."""

    type: Literal["inference_graph"] = "inference_graph"
    node: str = "root"
    """Name of the splitter."""

    def platform(self) -> Platform:
        """How it divides traffic."""
        return InferenceGraph(self.champion, self.challenger, self.node)


class SeldonSpec(_Arms):
    """A Seldon Core v1 SeldonDeployment; arms are predictors."""

    type: Literal["seldon"] = "seldon"

    def platform(self) -> Platform:
        """How it divides traffic."""
        return SeldonDeployment(self.champion, self.challenger)


class ExperimentSpec(_Arms):
    """A Seldon Core v2 Experiment; arms are candidates."""

    type: Literal["seldon_experiment"] = "seldon_experiment"

    def platform(self) -> Platform:
        """How it divides traffic."""
        return Experiment(self.champion, self.challenger)


class HttpRouteSpec(_Arms):
    """A Gateway API HTTPRoute; arms are backends."""

    type: Literal["http_route"] = "http_route"
    rule: Annotated[int, Field(ge=0)] = 0
    """Which of its rules, counted from 0."""

    def platform(self) -> Platform:
        """How it divides traffic."""
        return HttpRoute(self.champion, self.challenger, self.rule)


class LocalSplitSpec(_Section):
    """A file on this machine with the challenger's share."""

    type: Literal["local_split"] = "local_split"
    path: Path
    """The file."""

    def target(self) -> Target:
        """Build it."""
        return TrafficTarget(LocalSplit(), LocalFile(self.path))


TargetSpec = Annotated[
    KubeflowSpec
    | AirflowSpec
    | KnativeSpec
    | WebhookSpec
    | CommandSpec
    | KServeSpec
    | InferenceGraphSpec
    | SeldonSpec
    | ExperimentSpec
    | HttpRouteSpec
    | LocalSplitSpec,
    Field(discriminator="type"),
]

RETRAINS: frozenset[str] = frozenset({"kubeflow", "airflow", "knative", "webhook", "command"})
"""Types that a rule may name; the others divide traffic."""


SHADOWS: frozenset[str] = frozenset({"seldon", "seldon_experiment", "http_route", "local_split"})
"""Types that can copy requests to a challenger."""


def kind_of(spec: Any) -> Literal["retrain", "traffic"]:
    """What a target is for."""
    return "retrain" if spec.type in RETRAINS else "traffic"
