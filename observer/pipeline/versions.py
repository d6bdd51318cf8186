"""The versions of one model and their references: given, handed over, learnt or accepted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from detectors.base import Categories, Ints
from detectors.summaries.packing import Fields, Packable
from detectors.summaries.table import Table
from observer.errors import ConfigError, Permanent
from observer.model import FeatureType
from observer.pipeline.inputs import Window
from observer.pipeline.learning import Learner
from observer.pipeline.naming import Names
from observer.pipeline.spec import LearnSpec, ModelSpec
from observer.ports import Checkpoints
from observer.references import Overrides, Reference, carried, load
from observer.windows import model_prefix, storage_key

log = logging.getLogger(__name__)

REFERENCES, LEARNERS = "references", "learners"
LEAST_ROWS = 100
VERSION = "{version}"
"""In the path of a reference: a file per version, which comes with it."""


class Versions:
    """Versions that events have named, and what each is compared with.

    Attributes
    ----------
    names : Names
        Which there are.
    references : dict
        Version -> its reference; versions without one are being learnt.
    learners : dict
        Version -> what has been learnt of it so far.
    tables : dict
        Version of a reference -> its table, old ones included: stored windows need them.
    accepted : dict
        Version -> the reference that a person made of its windows, and the one given that it replaces.
    failed : dict
        Version -> why the reference that was handed over with it cannot be used. It keeps the one it had
        before, or learns one: one damaged file must not stop what is watched with the others.
    """

    def __init__(self, model: str, spec: ModelSpec, overrides: Overrides, state: Checkpoints) -> None:
        self._model = model
        self._spec = spec
        self._overrides = overrides
        self._state = state
        self.names = Names(spec.window.size)
        self.references: dict[str, Reference] = {}
        self.learners: dict[str, Learner] = {}
        self.tables: dict[str, Table] = {}
        self.accepted: dict[str, tuple[str, str]] = {}
        self.failed: dict[str, str] = {}
        self._left: dict[str, int] = {}
        """References of versions that gave way -> last event whose window may need them, milliseconds."""
        wanted = spec.reference
        self._default: Reference | None = (
            None if isinstance(wanted, LearnSpec) or VERSION in str(wanted) else load(wanted)
        )
        self._own = {version: load(path) for version, path in spec.versions.items()}

    # State

    def restore(self, fields: Fields | None, reached: int) -> None:
        """Take up what `saved` gave at the last checkpoint; None for nothing. See `Names.restore`."""
        for reference in (self._default, *self._own.values()):
            if reference is not None:
                self._keep(reference)
        for _, value in self._state.scan(REFERENCES, model_prefix(self._model)):
            stored = Reference.from_bytes(value)
            self.tables[stored.version] = stored.table
        if fields is None:
            return
        self.names.restore(fields, reached)
        self._left = dict(fields.get("left", {}))
        self.accepted = {version: (own, given) for version, (own, given) in fields["accepted"].items()}
        for version in self.names.watched:
            given = self._given(version)
            known = fields["learnt"].get(version) if given is None else None
            if known is None and version in self.failed:
                known = fields["given"].get(version)
            own, instead_of = self.accepted.get(version, ("", ""))
            if own and instead_of == (given.version if given else ""):
                known = own
            else:  # another one was given since
                self.accepted.pop(version, None)
            if known is not None:
                stored_value = self._state.get(REFERENCES, self._key(known))
                if stored_value is not None:
                    self.references[version] = Reference.from_bytes(stored_value)
            self._assign(version)

    def saved(self) -> dict[str, Packable]:
        """What `restore` needs."""
        given = [version for version in self.references if self._given(version) is not None]
        return {
            **self.names.saved(),
            "left": self._left,
            "accepted": {version: list(pair) for version, pair in self.accepted.items()},
            "learnt": {
                version: reference.version
                for version, reference in self.references.items()
                if version not in given and version not in self.accepted
            },
            "given": {
                version: self.references[version].version for version in given if version not in self.accepted
            },
        }

    def _key(self, reference: str) -> bytes:
        return model_prefix(self._model) + reference.encode()

    def _keep(self, reference: Reference) -> None:
        """Stored windows are read with the reference they were made under, also after it was replaced."""
        if reference.version not in self.tables:
            self.tables[reference.version] = reference.table
        key = self._key(reference.version)
        if self._state.get(REFERENCES, key) is None:
            self._state.put(REFERENCES, key, reference.to_bytes())

    # What is known

    @property
    def default(self) -> Reference | None:
        """The reference that says most of the model as a whole, if there is any."""
        return self._default or next(iter((*self._own.values(), *self.references.values())), None)

    @property
    def features(self) -> dict[str, FeatureType]:
        """Those of all versions' references; none while a version is being learnt, which needs all."""
        features: dict[str, FeatureType] = {}
        if self.learners:
            return features
        for reference in (*self.references.values(), *self._own.values(), self._default):
            features.update(reference.schema.features if reference else {})
        return features

    def meet(self, column: Categories, time: Ints, released: int) -> int:
        """Take note of the versions that events name; how many share a name. See `Names.meet`."""
        dropped, fresh = self.names.meet(column, time, released)
        for name in fresh:
            self._assign(name)
        return dropped

    def _given(self, version: str) -> Reference | None:
        """The reference that the configuration gives the version, or that was handed over with it."""
        own = self._own.get(version, self._default)
        if own is None and version not in self.failed and (path := self._file(version)) is not None:
            try:
                own = self._own[version] = load(path)
            except Permanent as error:
                self._fail(version, str(error))
            else:
                self._keep(own)
        return own

    def _file(self, version: str) -> Path | None:
        """The file that was handed over with a version."""
        wanted = self._spec.reference
        if not isinstance(wanted, Path) or not version:
            return None
        path = Path(str(wanted).replace(VERSION, version.replace("/", "_")))
        return path if _is_file(path) else None

    def repaired(self, version: str) -> bool:
        """Try a file that failed again; whether it is the version's reference from now on.

        Where the version has another one, that stays until the next start, and the file is told to fail.
        """
        path, present = self._file(version), self.references.get(version)
        if path is None:
            return False
        try:
            own = load(path)
        except Permanent:
            return False
        if present is not None and present.version != own.version:
            return False
        log.info("model %s, version %s: %s was repaired, and is read", self._model, version, path)
        del self.failed[version]
        self._own[version] = own
        self._keep(own)
        if self.learners.pop(version, None) is not None:
            self._state.delete(LEARNERS, storage_key(self._model, 0, version))
        self._assign(version)
        return present is None

    def _fail(self, version: str, why: str) -> None:
        self.failed[version] = why
        log.error("model %s, version %s goes without its own reference: %s", self._model, version, why)

    def _assign(self, version: str) -> None:
        reference = self.references.get(version) or self._given(version)
        if reference is None:
            value = self._state.get(LEARNERS, storage_key(self._model, 0, version))
            self.learners[version] = Learner() if value is None else Learner.from_bytes(value)
        else:
            self.references[version] = reference

    def release(self, version: str, last: int, *, back: bool) -> None:
        """Let go of what is kept of a version that gave way; its last event was at `last`.

        Its reference stays as long as stored windows may need it. One that is `back` begins anew.
        """
        reference = self.references.pop(version, None)
        if reference is not None:
            self._left[reference.version] = last
        if version not in self._spec.versions:
            self._own.pop(version, None)
        for kept in (self.learners, self.accepted, self.failed):
            kept.pop(version, None)
        self._state.delete(LEARNERS, storage_key(self._model, 0, version))
        if back:
            self._assign(version)

    def forget(self, before: int) -> None:
        """Delete the references that only windows needed which start before `before`."""
        gone = [reference for reference, last in self._left.items() if last < before]
        if not gone:
            return
        given = (self._default, *self._own.values(), *self.references.values())
        used = {one.version for one in given if one is not None} | {one for _, one in self.accepted.values()}
        for reference in gone:
            del self._left[reference]
            if reference not in used:
                self.tables.pop(reference, None)
                self._state.delete(REFERENCES, self._key(reference))

    # New references

    def learn(self, window: Window) -> bool:
        """Learn from a closed window of a version without a reference; whether that made one."""
        version = window.key.version
        wanted, key = self._spec.reference, storage_key(self._model, 0, version)
        learner = self.learners[version]
        learner.add(window)
        if not learner.enough(wanted if isinstance(wanted, LearnSpec) else LearnSpec()):
            self._state.put(LEARNERS, key, learner.to_bytes())
            return False
        reference = learner.reference(self._model, self._overrides)
        self._keep(reference)
        self.references[version] = reference
        del self.learners[version]
        self._state.delete(LEARNERS, key)
        return True

    def accept(self, version: str, windows: Iterable[Window], hidden: frozenset[str]) -> Reference:
        """Make what closed windows show the reference of a version instead of the one it has.

        Columns that their samples do not hold (`hidden` ones, embeddings) go by what windows under the
        present reference have counted, or else stay as they are in it. Raises `ConfigError` when the windows
        hold too little.
        """
        before = self.references.get(version)
        if before is None:
            raise ConfigError([f"model {self._model}: version {version!r} has no reference yet to replace"])
        learner, seen = Learner(), before.table.zero()
        for window in windows:
            if window.reference == before.version:
                seen.counts.merge(window.summary.counts)
                seen.numbers.merge(window.summary.numbers)
                seen.categories.merge(window.summary.categories)
                seen.embeddings.merge(window.summary.embeddings)
            # Windows that were learnt from hold even less of what is hidden; it would seem to be missing.
            if len(window.summary.sample) and (window.reference or not hidden):
                learner.add(window)
        if len(learner.sample) < LEAST_ROWS:
            held = f"the windows since then hold {len(learner.sample)} sampled rows, {LEAST_ROWS} are needed"
            raise ConfigError([f"model {self._model}, version {version!r}: {held}"])
        reference = learner.reference(self._model, self._overrides)
        reference = carried(reference, before, seen if seen.n else before.summary)
        self._keep(reference)
        given = self._given(version)
        self.accepted[version] = (reference.version, given.version if given else "")
        self.references[version] = reference
        return reference


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have, being too long
        return False
