"""`kit plugins --trace`: each call of a hook, who answered, how long it took; the command's own output stays."""

import time

import pytest

from helpers import strangers

SLOW = """
import time
from kit.plugin import MetricSpec, hookimpl

@hookimpl
def kit_metrics():
    time.sleep(0.05)
    return [MetricSpec("slow_a", True, compute), MetricSpec("slow_b", True, compute)]

def compute(target, prediction):
    return 0.0
"""


def test_hooks_and_functions_are_listed(kit, store):
    plain = kit("check", "histo").out
    began = time.perf_counter()
    done = kit("plugins", "--trace", "check", "histo")
    took = 1000 * (time.perf_counter() - began)
    assert done.out.startswith(plain)
    trace = kit("plugins", "--json", "--trace", "check", "histo")
    assert trace.err == plain
    calls = {(call["hook"], call["plugin"]): call for call in trace.json["hooks"]}
    assert calls["kit_datasets", "recursion"]["specs"] == 3
    assert ("import", "timm") in calls
    functions = {(each["spec"], each["function"]): each for each in trace.json["functions"]}
    index, read = (functions["dataset histopathology", name] for name in ("index", "read"))
    assert index["calls"] >= 1
    assert read["calls"] >= 300, "those of the processes that read images are counted too"
    assert read["plugin"] == "plugin histopathology of competition-kit"
    assert 0 < index["milliseconds"] < took
    assert max(map(len, done.out.removeprefix(plain).splitlines())) <= 80


def test_the_status_and_a_document_stay(kit, store):
    assert kit("plugins", "--trace", "check", "histo", "--json").json == kit("check", "histo", "--json").json
    failed = kit("plugins", "--trace", "check", "hista", code=2)
    assert "no competition is called 'hista'" in failed.err
    assert "kit_competitions" in failed.out


def test_time_is_that_of_the_plugin(kit, monkeypatch, tmp_path):
    strangers.use(monkeypatch, tmp_path, SLOW, "slow", "kit_slow")
    trace = kit("plugins", "--json", "--trace", "plugins").json["hooks"]
    (call,) = [each for each in trace if (each["plugin"], each["hook"]) == ("slow", "kit_metrics")]
    assert call["distribution"] == "kit-slow"
    assert call["specs"] == 2
    assert 50 <= call["milliseconds"] < 1000


@pytest.mark.parametrize("words", [("--trace",), ("check",), ("--trace", "plugins", "check")])
def test_what_can_not_be_traced_is_one_line(kit, words):
    done = kit("plugins", *words, code=2)
    assert "kit plugins --trace" in done.err
    assert done.err.count("\n") == 1
