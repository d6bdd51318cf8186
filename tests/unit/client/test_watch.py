"""Around a call: context manager, decorator, scikit-learn, KServe, ASGI; the call itself is never changed."""

from __future__ import annotations

import asyncio
import copy
import json
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from observer.client import LoggedEstimator, PredictionLogger, PredictionMiddleware, watch_kserve
from tests.unit.client.fakes import Memory


class Logged:
    """A logger over memory, and the events it sent."""

    def __init__(self, **options) -> None:
        self.memory = Memory()
        self.logger = PredictionLogger("m", transport=self.memory, format="json", **options)

    @property
    def events(self) -> list[dict]:
        assert self.logger.flush(20)
        return [json.loads(value) for value in self.memory.values("predictions")]

    @property
    def invalid(self) -> int:
        return self.logger.stats().dropped.get("invalid", 0)


@pytest.fixture
def logged():
    made = []

    def make(**options):
        made.append(Logged(**options))
        return made[-1]

    yield make
    for one in made:
        one.logger.close()


def test_the_context_manager(logged):
    one = logged()
    with one.logger.prediction({"x": 1}, id="a", tags={"t": "u"}) as pending:
        assert pending.id == "a"
        pending.prediction, pending.scores = "yes", 0.75
    with one.logger.prediction() as pending:
        pending.features, pending.prediction = {"x": 2}, 0
    with one.logger.prediction({"x": 2}) as none:
        none.prediction = None
    with one.logger.prediction({"x": 3}):
        pass  # nothing was predicted
    failing = one.logger.prediction({"x": 4})
    failing.prediction = 1
    with pytest.raises(KeyError), failing:
        raise KeyError
    first, second = one.events
    assert one.invalid == 1  # that prediction was none
    assert first.pop("latency_ms") >= 0
    assert first.pop("time") > 0
    assert first == {
        "id": "a", "model": "m", "features": {"x": 1}, "prediction": "yes", "scores": 0.75,
        "tags": {"t": "u"},
    }  # fmt: skip
    assert (second["id"], second["prediction"]) == (pending.id, 0)


def test_the_decorator(logged):
    one = logged(feature_names=("x", "y"))

    @one.logger.watch()
    def plain(features):
        """Its own."""
        return features["x"] * 2

    @one.logger.watch()
    async def waiting(features):
        await asyncio.sleep(0)
        return features["x"] * 3

    @one.logger.watch(
        read=lambda given, out: [{"features": {"x": given[1]}, "prediction": out, "id": given[0]}]
    )
    def told(name, *, x):
        return x * 4

    @one.logger.watch(frame=True)
    def many(matrix):
        return matrix.sum(axis=1)

    @one.logger.watch(read=lambda *_: 1 / 0)
    def unreadable(x):
        return x

    @one.logger.watch()
    def failing(x):
        raise LookupError(x)

    assert (plain({"x": 1}), plain.__doc__, plain.__name__) == (2, "Its own.", "plain")
    assert asyncio.run(waiting(features={"x": 1})) == 3
    assert told("a", x=5) == 20
    assert many(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [3, 7]
    assert unreadable(6) == 6
    with pytest.raises(LookupError):
        failing({"x": 1})
    assert [(event["features"], event["prediction"]) for event in one.events] == [
        ({"x": 1}, 2), ({"x": 1}, 3), ({"x": 5}, 20), ({"x": 1, "y": 2}, 3), ({"x": 3, "y": 4}, 7),
    ]  # fmt: skip
    assert one.events[2]["id"] == "a"
    assert all(event["latency_ms"] >= 0 for event in one.events)
    assert one.invalid == 1


def test_the_decorator_of_a_method_and_of_a_generator(logged):
    one = logged()

    class Server:
        @one.logger.watch()
        def predict(self, features):
            return features["x"]

    assert Server().predict({"x": 1}) == Server().predict(features={"x": 2}) - 1 == 1
    assert [event["features"] for event in one.events] == [{"x": 1}, {"x": 2}]

    def pieces(features):
        yield features

    with pytest.raises(TypeError, match="a generator has no one result"):
        one.logger.watch()(pieces)


def test_a_classifier_of_scikit_learn(logged):
    X, y = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]), np.array(["no", "no", "yes", "yes"])
    model = LogisticRegression().fit(X, y)
    for options, scored in (({}, False), ({"scores": True}, True), ({"method": "predict_proba"}, True)):
        one = logged(feature_names=("a", "b"))
        watched = LoggedEstimator(model, one.logger, **options)
        assert watched.predict(X).tolist() == model.predict(X).tolist()
        assert watched.predict_proba(X).tolist() == model.predict_proba(X).tolist()
        assert watched.score(X, y) == model.score(X, y)
        assert watched.coef_ is model.coef_
        events = one.events
        assert [event["features"] for event in events] == [
            dict(zip("ab", row, strict=True)) for row in X.tolist()
        ]
        assert [event["prediction"] for event in events] == model.predict(X).tolist()
        assert all(("scores" in event) == scored for event in events)
        if scored:
            assert [event["scores"]["yes"] for event in events] == model.predict_proba(X)[:, 1].tolist()
    with pytest.raises(ValueError, match="accepted: 'predict', 'predict_proba'"):
        LoggedEstimator(model, logged().logger, method="fit")


def test_a_regression_without_names_and_what_cannot_be_logged(logged):
    X = np.array([[0.0], [1.0]])
    model = LinearRegression().fit(X, [1.0, 3.0])
    one = logged()
    watched = LoggedEstimator(model, one.logger)
    watched.predict(X)
    assert [event["features"] for event in one.events] == [{"x0": 0}, {"x0": 1}]
    assert [event["prediction"] for event in one.events] == pytest.approx([1, 3])
    with pytest.raises(ValueError, match="features"):
        watched.predict(np.zeros((2, 5)))
    odd = LoggedEstimator(SimpleNamespace(predict=lambda X: [1] * len(X)), one.logger, scores=True)
    assert odd.predict(X) == [1, 1]  # it has no predict_proba
    assert one.invalid == 2
    with pytest.raises(AttributeError):
        getattr(watched, "nothing_of_that_name")  # noqa: B009
    assert copy.copy(watched).coef_ is model.coef_


class V2:
    """As KServe's tensors and requests."""

    def __init__(self, name, shape, data):
        self.name, self.shape, self._data = name, shape, data

    def as_numpy(self):
        return np.array(self._data).reshape(self.shape)


class Served:
    """As a `kserve.Model`."""

    def __init__(self, answer):
        self._answer = answer

    def predict(self, payload, headers=None):  # noqa: ARG002
        return self._answer


class ServedAsync(Served):
    async def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002
        return self._answer


def test_kserve_v1(logged):
    one = logged(feature_names=("a", "b"), classes=("no", "yes"))
    model = watch_kserve(Served({"predictions": ["yes", [0.9, 0.1]]}), one.logger)
    answer = model.predict({"instances": [{"a": 1, "b": 2}, [3, 4]]}, {"x-request-id": "r"})
    assert answer == {"predictions": ["yes", [0.9, 0.1]]}
    first, second = one.events
    assert (first["id"], first["features"], first["prediction"]) == ("r-0", {"a": 1, "b": 2}, "yes")
    assert (second["id"], second["features"], second["prediction"]) == ("r-1", {"a": 3, "b": 4}, "no")
    assert second["scores"] == {"no": 0.9, "yes": 0.1}
    model = watch_kserve(Served({"predictions": [1]}), one.logger)
    model.predict({"instances": [[1, 2]]}, {"x-request-id": "single"})
    assert one.events[-1]["id"] == "single"
    model.predict({"instances": [[1, 2], [3, 4]]})  # two questions, one answer
    model.predict({"neither": 1})
    assert one.invalid == 2


def test_kserve_v2(logged):
    one = logged(feature_names=("a", "b"), classes=("no", "yes"))
    request = SimpleNamespace(id="r", inputs=[V2("input", [2, 2], [1, 2, 3, 4])])
    response = SimpleNamespace(
        outputs=[V2("label", [2], ["yes", "no"]), V2("p", [2, 2], [0.1, 0.9, 0.8, 0.2])]
    )
    model = watch_kserve(ServedAsync(response), one.logger)
    assert asyncio.run(model.predict(request, {}, response_headers={})) is response
    columns = SimpleNamespace(id="", inputs=[V2("a", [1, 1], [7]), V2("b", [1], [b"x"])])
    asyncio.run(
        watch_kserve(ServedAsync(SimpleNamespace(outputs=[V2("y", [1], [2.5])])), one.logger).predict(columns)
    )
    first, second, third = one.events
    assert (first["id"], first["features"], first["prediction"]) == ("r-0", {"a": 1, "b": 2}, "yes")
    assert second["scores"] == {"no": 0.8, "yes": 0.2}
    assert (third["features"], third["prediction"]) == ({"a": 7, "b": "x"}, 2.5)


async def predict(request: Request) -> JSONResponse:
    body = await request.json()
    if body.get("fail"):
        return JSONResponse({"error": "no"}, 400)
    return JSONResponse({"prediction": body["features"]["x"] * 2, "scores": 0.5})


async def stream(request: Request) -> StreamingResponse:
    async def parts():
        yield b'{"predic'
        yield b'tions": [1, 2]}'

    await request.body()
    return StreamingResponse(parts(), media_type="application/json")


async def text(request: Request) -> JSONResponse:
    return JSONResponse("not an object" * int((await request.json())["times"]))


def test_asgi_tells_copies_apart_by_the_name_of_the_host(logged):
    one = logged()
    app = PredictionMiddleware(Starlette(routes=[Route("/predict", predict, methods=["POST"])]), one.logger)

    async def ask():
        for host in ("model", "model-shadow", "model-shadow:8080", "shadow-model"):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                await client.post("/predict", json={"features": {"x": 2}}, headers={"x-request-id": "mine"})

    asyncio.run(ask())
    assert [event.get("arm") for event in one.events] == [None, "shadow", "shadow", None]


def test_asgi(logged):
    one = logged()
    inner = Starlette(
        routes=[Route(f"/{f.__name__}", f, methods=["GET", "POST"]) for f in (predict, stream, text)]
    )
    app = PredictionMiddleware(inner, one.logger, paths=("/predict", "/stream", "/text"), max_body=1000)

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            first = await client.post(
                "/predict", json={"features": {"x": 2}}, headers={"x-request-id": "mine"}
            )
            second = await client.post("/predict", json={"features": {"x": 3}})
            assert (await client.post("/predict", json={"fail": True})).status_code == 400
            many = await client.post("/stream", json={"instances": [{"x": 1}, {"x": 2}]})
            assert (await client.post("/text", json={"times": 1})).json() == "not an object"
            assert len((await client.post("/text", json={"times": 500})).json()) == 6500
            assert (await client.get("/nothing")).status_code == 404
            return first, second, many

    first, second, many = asyncio.run(ask())
    assert first.json() == {"prediction": 4, "scores": 0.5}
    assert first.headers["x-prediction-id"] == "mine"
    assert many.json() == {"predictions": [1, 2]}
    events = one.events
    assert [event["id"] for event in events] == [
        "mine", second.headers["x-prediction-id"],
        *(f"{many.headers['x-prediction-id']}-{at}" for at in range(2)),
    ]  # fmt: skip
    assert [event["prediction"] for event in events] == [4, 6, 1, 2]
    assert one.invalid == 2
