"""The one door to the Kubernetes API, through lightkube (extra `kubernetes`): an object read and patched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, Final

import httpx2  # what lightkube raises
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.authorization_v1 import ResourceAttributes, SelfSubjectAccessReviewSpec
from lightkube.resources.authorization_v1 import SelfSubjectAccessReview
from lightkube.types import PatchType

from observer.actions.traffic.platform import Object, Patch, Resource
from observer.actions.traffic.target import Conflict
from observer.errors import Permanent, Retryable, Unclear

for _name in ("httpx2", "httpcore2", "lightkube"):  # their lines may hold headers
    logging.getLogger(_name).setLevel(logging.WARNING)

TIMEOUT: Final = 15.0


class KubernetesObject:
    """An object in a cluster.

    Parameters
    ----------
    kubeconfig : str
        Path of a file; "" for the pod's own service account, or the user's usual file.
    """

    def __init__(self, resource: Resource, namespace: str, name: str, kubeconfig: str = "") -> None:
        self.name = f"{resource.kind} {namespace}/{name}"
        self._resource, self._namespace, self._object = resource, namespace, name
        self._kubeconfig = kubeconfig
        self._kind = create_namespaced_resource(*resource)

    def read(self) -> Object:
        """As it is now."""
        found = self._ask(lambda client: client.get(self._kind, self._object, namespace=self._namespace))
        return _plain(found)

    def patch(self, change: Patch, *, dry: bool = False) -> Object:
        """Apply a merge patch."""

        def act(client: Client) -> Any:
            return client.patch(
                self._kind,
                self._object,
                change,
                namespace=self._namespace,
                patch_type=PatchType.MERGE,
                dry_run=dry,
            )

        return _plain(self._ask(act, writes=not dry))

    def refused(self) -> list[str]:
        """Ask the API server itself, which changes nothing."""
        group, _, _, plural = self._resource
        missing = []
        for verb in ("get", "patch"):
            asked = ResourceAttributes(
                group=group, resource=plural, verb=verb, namespace=self._namespace, name=self._object
            )
            review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=asked))
            answer = self._ask(partial(_create, review))
            if answer.status is None or not answer.status.allowed:
                missing.append(f"{self.name}: the service may not {verb} {plural}.{group}")
        return missing

    def _ask(self, act: Callable[[Client], Any], *, writes: bool = False) -> Any:
        try:
            # A client for each request: a token that was renewed is read, and nothing is left open.
            config = KubeConfig.from_file(self._kubeconfig) if self._kubeconfig else KubeConfig.from_env()
            timeout = httpx2.Timeout(TIMEOUT)
            with closing(Client(config=config, field_manager="ml-observer", timeout=timeout)) as client:
                return act(client)
        except ApiError as error:
            code = error.status.code or 0
            text = f"{self.name}: {error.status.message or error}"[:500]
            if code == 409:
                raise Conflict(text) from error
            if code == 429 or code >= 500:
                raise (Unclear if writes and code >= 500 else Retryable)(text) from error
            raise Permanent(text) from error
        except (ConfigError, OSError) as error:
            raise Permanent(f"{self.name}: the kubeconfig cannot be used: {error}") from error
        except httpx2.ConnectError as error:
            raise Retryable(f"{self.name}: no connection: {error}") from error
        except httpx2.HTTPError as error:
            raise (Unclear if writes else Retryable)(f"{self.name}: {error!r}") from error


def _create(review: SelfSubjectAccessReview, client: Client) -> Any:
    return client.create(review)


def _plain(found: Any) -> Object:
    """The object as JSON; lightkube reads `metadata` into a class of its own."""
    metadata = found["metadata"] if isinstance(found, dict) else found.metadata
    return {**found, "metadata": metadata.to_dict() if hasattr(metadata, "to_dict") else dict(metadata)}
