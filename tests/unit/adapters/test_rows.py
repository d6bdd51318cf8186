"""What a worker gets to see of a summary."""

import numpy as np
import pytest

from detectors.adapters.rows import reference_rows, rows
from detectors.adapters.worker import columns as worker
from detectors.adapters.worker.columns import Refused, Skipped
from detectors.base import Categories, Numbers
from detectors.conformance import summarise, table_of


@pytest.fixture
def odd():
    return {
        "number": Numbers(np.array([1.0, np.nan, np.inf, -2.5]), nulls=np.array([False, True, False, False])),
        "text": Categories(np.array([0, -1, -2, 1], np.int32), ("x", "half \ud800 pair")),
        "mixed": Numbers(np.array([3.0, np.nan, 0.5, 3.0])),
    }


def test_values_survive_the_way(odd):
    table = table_of({**odd, "mixed": Categories(np.zeros(4, np.int32), ("3",))})
    summary = summarise(table, odd)
    order = np.argsort(np.random.default_rng(1).integers(0, 2**63, 4, dtype=np.uint64))
    read = worker.read_columns(rows(summary, table))
    np.testing.assert_array_equal(read["number"], np.array([1.0, np.nan, np.nan, -2.5])[order])
    assert read["text"].tolist() == [["x", None, None, "half ? pair"][i] for i in order]
    assert read["mixed"].tolist() == [["3", None, "0.5", "3"][i] for i in order]


def test_a_column_that_a_window_never_had_is_missing(odd):
    table = table_of(odd)
    read = worker.read_columns(rows(summarise(table, {"number": odd["number"]}), table))
    assert list(read) == ["number", "mixed", "text"]
    assert np.isnan(read["mixed"]).all()
    assert read["text"].tolist() == [None] * 4


def test_a_reference_is_known_by_its_content(odd):
    table = table_of(odd)
    one, same, other = summarise(table, odd), summarise(table, odd), summarise(table, odd)
    assert reference_rows(one) is reference_rows(one)
    assert reference_rows(one).digest == reference_rows(same).digest
    before = reference_rows(other).digest
    other.update(table.encode(np.array([5], np.uint64), {name: c.take([0]) for name, c in odd.items()}))
    assert reference_rows(other).digest != before


NUMBERS = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([np.nan, 2.0, 3.0])}
TEXTS = {"c": np.array(["x", None, "y"], object)}


def test_columns_are_chosen_by_name_or_by_kind():
    everything = {**NUMBERS, **TEXTS}
    spec = {"columns": []}
    assert worker.chosen(spec, everything, worker.is_number, "numeric columns") == ["a", "b"]
    assert worker.chosen({"columns": ["b"]}, everything, worker.is_number, "numeric columns") == ["b"]
    with pytest.raises(Refused, match="takes numeric columns, not c"):
        worker.chosen({"columns": ["b", "c"]}, everything, worker.is_number, "numeric columns")
    with pytest.raises(Refused, match="the reference has no z; it has a, b, c"):
        worker.chosen({"columns": ["z"]}, everything, worker.is_number, "numeric columns")
    with pytest.raises(Refused, match="the reference has none"):
        worker.chosen(spec, TEXTS, worker.is_number, "numeric columns")


def test_missing_values_leave_out_a_value_of_one_and_a_row_of_several():
    one, _ = worker.both("a", NUMBERS, NUMBERS, 2)
    assert one.tolist() == [1.0, 3.0]
    assert worker.both("c", TEXTS, TEXTS, 2)[1].tolist() == ["x", "y"]
    with pytest.raises(Skipped, match="the reference's sample holds 2 values, 3 are needed"):
        worker.both("a", NUMBERS, NUMBERS, 3)
    assert worker.matrices(["a", "b"], NUMBERS, NUMBERS, 1)[0].tolist() == [[3.0, 3.0]]
    with pytest.raises(Skipped, match="of 3 sampled rows of the reference 1 have values in all of a, b"):
        worker.matrices(["a", "b"], NUMBERS, NUMBERS, 2)


def test_flags_and_codes():
    assert worker.is_binary(np.array([0.0, 1.0, np.nan]))
    assert not worker.is_binary(np.array([1.0, 2.0]))
    assert worker.is_binary(TEXTS["c"])
    a, b = worker.as_flags("c", TEXTS, {"c": np.array(["y", "new", None], object)})
    np.testing.assert_array_equal(a, [0.0, np.nan, 1.0])
    np.testing.assert_array_equal(b, [1.0, np.nan, np.nan])
    codes = worker.as_codes(np.array(["b", "a"], object), np.array(["c"], object))
    assert [side.tolist() for side in codes] == [[1, 0], [2]]


def test_one_column_that_fails_stops_no_other():
    def judge(name):
        if name == "bad":
            raise RuntimeError("singular")
        if name == "none":
            raise Skipped("no values")
        return worker.found(name, 1, 1, np.nan if name == "nan" else 0.5)

    good, bad, nothing, nan = worker.each(["good", "bad", "none", "nan"], judge)
    assert good["statistic"] == 0.5
    assert bad["failed"] == "RuntimeError: singular"
    assert nothing["skipped"] == "no values"
    assert "no finite number" in nan["skipped"]
    with pytest.raises(MemoryError):
        worker.each(["x"], lambda _: (_ for _ in ()).throw(MemoryError))


def test_a_permutation_p_value_is_never_zero():
    assert worker.unbiased(0.0, 99) == 0.01
    assert worker.unbiased(1.0, 99) == 1.0
    assert worker.unbiased(0.05, 100) == pytest.approx(6 / 101)


def test_keywords_may_build_objects_of_known_packages_and_nothing_else(monkeypatch):
    monkeypatch.setattr(worker, "_CLASSES", ("sklearn", "torch", "collections"))
    inner = {"class": "collections.Counter", "args": [["a", "a"]]}
    assert (
        worker.built({"class": "collections.deque", "args": [[inner]], "kwargs": {"maxlen": 5}})[0]["a"] == 2
    )
    assert worker.built({"a": [1, {"b": None}]}) == {"a": [1, {"b": None}]}
    for name in ("os.system", "subprocess.Popen", "collections.namedtuple", "sklearn", "builtins.eval"):
        with pytest.raises(Refused, match="is no class of sklearn, torch"):
            worker.built({"class": name, "args": ["true"]})


def test_what_is_set_up_is_set_up_once_also_when_it_fails():
    reference, calls = worker.Reference({}), []

    def fail():
        calls.append(1)
        raise ValueError("too few bootstraps")

    for _ in range(2):
        with pytest.raises(ValueError, match="too few"):
            reference.once("a", fail)
    assert calls == [1]
    assert reference.once("b", lambda: 7) == reference.once("b", fail) == 7
