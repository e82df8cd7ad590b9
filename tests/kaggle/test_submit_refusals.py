"""What is not sent to Kaggle, or only after a word: limits, bad files, samples, rules, credentials."""

import sys
from typing import Any

import pytest
import typer

from helpers.submit_runs import IDS, SLUG, asked, csv_of, digest, fill, make_run, on_board, record

pytest_plugins = ["helpers.submit_fixtures"]


ON = f"https://www.kaggle.com/c/{SLUG}/rules"


def test_a_used_up_day_uploads_nothing(kit, server, run):
    fill(server, 5)
    done = kit("submit", "--yes", code=3)
    assert "no submission is left today, 5 of 5 are used; it resets at 00:00 UTC, in " in done.err
    assert "StartSubmissionUpload" not in asked(server)


def test_the_last_one_of_the_day_needs_a_word(kit, server, run, monkeypatch):
    fill(server, 4)
    done = kit("submit", code=2)
    assert "this uses the last submission of today; repeat the command with --yes" in done.err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda text, err: False)
    assert "nothing was sent" in kit("submit", code=2).err
    assert "StartSubmissionUpload" not in asked(server)
    monkeypatch.setattr(typer, "confirm", lambda text, err: "last submission of today" in text)
    kit("submit")
    assert len(on_board(server)) == 5


def test_the_last_one_with_yes(kit, server, run):
    fill(server, 4)
    assert kit("submit", "--yes", "--json").json["left_today"] == 0
    assert len(on_board(server)) == 5


def test_somebody_else_of_the_team_takes_the_last_one_meanwhile(kit, server, run, monkeypatch):
    fill(server, 3)
    start = server.StartSubmissionUpload
    monkeypatch.setattr(server, "StartSubmissionUpload", lambda ask: (fill(server, 2), start(ask))[1])
    done = kit("submit", code=3)
    assert "Your team has used its daily Submission allowance (5) today, please try again tomorrow" in done.err
    assert "submissions" not in record(run)


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_does_not_know_the_limits_stops_nothing(kit, server, run, status):
    server.fault("GetSubmissionLimits", status=status, times=None)
    done = kit("submit", "--json")
    assert "does not say how many submissions are left" in done.err
    assert (done.json["sent"], done.json["left_today"]) == (True, None)


def test_who_is_in_no_team_yet_may_submit(kit, server, run, monkeypatch):
    monkeypatch.setattr(server, "GetSubmissionLimits", lambda ask: {})
    assert kit("submit", "--json").json["left_today"] == 4


def test_the_total_of_a_competition_is_another_limit(kit, server, run, monkeypatch):
    monkeypatch.setattr(server, "GetSubmissionLimits", lambda ask: {"numTotal": 100, "limitedByTotal": True})
    assert "total of submissions is used up" in kit("submit", code=3).err


def test_the_same_bytes_again_need_a_word(kit, server, run):
    server.next_submission(["COMPLETE"], public="0.91")
    kit("submit", "--wait")
    for options in ((), ("--json",), ("--wait",)):
        done = kit("submit", *options, code=2)
        assert "the same bytes were sent before: 1000, " in done.err
        assert "COMPLETE, public score 0.91" in done.err
        said = done.json["error"] if options == ("--json",) else done.err
        assert "nothing was sent: the same bytes were sent before as 1000; repeat the command with --yes" in said
    assert len(on_board(server)) == 1
    assert asked(server).count("StartSubmissionUpload") == 1
    assert "the same bytes were sent before: 1000, " in kit("submit", "--yes").err
    assert len(on_board(server)) == 2
    assert [entry["ref"] for entry in record(run)["submissions"]] == [1000, 1001]
    (run.path / "run.json").rename(run.path / "run.json.away")  # as on another machine
    other = make_run()
    assert kit("submit", other.id, code=2).err.count("the same bytes were sent before:") == 2
    (other.path / "run.json").unlink()
    (run.path / "run.json.away").rename(run.path / "run.json")
    on_board(server).clear()  # what Kaggle doesn't list any more, the records know
    assert kit("submit", "--yes").err.count("the same bytes were sent before:") == 2


def test_both_doubts_are_one_question(kit, server, run, monkeypatch):
    kit("submit")
    fill(server, 3)
    questions = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda text, err: questions.append(text) or len(questions) > 1)
    assert "nothing was sent" in kit("submit", code=2).err
    assert len(on_board(server)) == 4
    kit("submit")
    assert len(on_board(server)) == 5
    assert questions[0] == (
        "the same bytes were sent before as 1000 and this uses the last submission of today: send it?"
    )


def test_other_bytes_are_no_warning(kit, server, run):
    kit("submit")
    assert "same bytes" not in kit("submit", make_run(seed=1).id).err


def test_a_bad_file_is_never_sent(kit, server, run, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("id,label\n" + "".join(f"{id_},nan\n" for id_ in IDS))
    done = kit("submit", "histo", "--file", bad, code=2)
    assert "error: label is not a number: line 2" in done.out
    assert "not ready to send" in done.out
    document = kit("submit", "histo", "--file", bad, "--json", code=2).json
    assert (document["valid"], document["sent"]) == (False, False)
    assert "is not there" in kit("submit", "histo", "--file", tmp_path / "none.csv", code=2).out
    (tmp_path / "data" / SLUG / "sample_submission.csv").write_text("id,label\nother,0\n")
    (tmp_path / "data" / SLUG / "test" / "other.tif").touch()
    kit("submit", code=2)
    assert server.requests == []


def test_a_dry_run_asks_nobody(kit, server, run):
    done = kit("submit", "--dry-run", "--json").json
    assert (done["valid"], done["sent"], done["ref"]) == (True, False, None)
    assert server.requests == []


def test_a_sample_is_never_sent(kit, server, run, tmp_path):
    sample = make_run(seed=3, origin="miniature")
    assert "trained on a miniature, which is never sent" in kit("submit", sample.id, code=2).err
    origin = tmp_path / "data" / SLUG / ".kit" / "origin.json"
    kept = origin.read_text()
    origin.write_text(kept.replace("archive", "miniature"))
    kit("submit", sample.id, "--dry-run")
    assert "checked against a miniature" in kit("submit", "histo", "--file", csv_of(sample), code=2).err
    origin.write_text(kept)
    assert "not sent" in kit("submit", "histo", "--file", csv_of(sample), code=2).err
    assert server.requests == []


def test_a_file_of_any_origin(kit, server, run, tmp_path):
    blend = tmp_path / "blend.csv"
    blend.write_text("id,label\n" + "".join(f"{id_},0.{i + 1}\n" for i, id_ in enumerate(IDS)))
    assert "kit submit COMPETITION --file" in kit("submit", "--file", blend, code=2).err
    document = kit("submit", run.id, "--file", blend, "--wait", "--json").json
    assert (document["run"], document["path"], document["public"]) == (None, str(blend), 0.95)
    assert document["cross_validated"] is None
    assert server.uploads[0].content == blend.read_bytes()
    assert on_board(server)[0].description == f"blend.csv [kit {digest(blend)[:12]}]"
    assert "submissions" not in record(run)
    assert kit("submissions", "histo", "--json").json["submissions"][0]["run"] is None
    assert "the same bytes were sent before: 1000" in kit("submit", "histo", "--file", blend, code=2).err


def test_a_file_with_the_bytes_of_a_run_belongs_to_it(kit, server, run, tmp_path):
    kit("submit", "--dry-run")
    copy = tmp_path / "copy.csv"
    copy.write_bytes(csv_of(run).read_bytes())
    assert kit("submit", "histo", "--file", copy, "--json").json["run"] == run.id
    assert record(run)["submissions"][0]["ref"] == 1000


def test_what_does_not_lie_on_kaggle_as_a_competition(kit, server, run, monkeypatch):
    from dataclasses import replace

    from kit.hooks.registry import Specs

    real = Specs.get

    def get(self: Any, name: str) -> Any:
        found = real(self, name)
        return replace(found, kaggle="dataset") if self.kind == "competition" else found

    monkeypatch.setattr(Specs, "get", get)
    said = kit("submit", "--json")
    assert said.json["sent"] is False
    assert said.json["valid"] is True
    assert f"{csv_of(run)}: checked; histopathology has no Kaggle competition" in kit("submit").out
    assert "no Kaggle competition" in kit("submissions", "histo", code=2).err
    assert server.requests == []


def test_rules_that_are_not_accepted(kit, server, run):
    server.competitions[SLUG].rules_accepted = False
    for command in (("submit",), ("submissions", "histo")):
        assert ON in kit(*command, code=3).err


def test_without_credentials_the_three_ways_are_named(kit, server, run, monkeypatch):
    server.connect(monkeypatch, auth="none")
    done = kit("submit", code=3)
    assert all(way in done.err for way in ("KAGGLE_API_TOKEN", "kaggle.json", "kaggle auth login"))
    assert server.requests == []


def test_a_refused_key(kit, server, run, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "wrong-secret")
    assert "make new ones" in kit("submit", code=3).err


def test_after_the_deadline_scores_are_late(kit, server, run):
    server.competitions[SLUG].deadline = "2019-03-30T23:59:00Z"
    done = kit("submit", "--wait")
    assert "the deadline (2019-03-30) is over: late submissions are accepted and scored, not ranked" in done.out
    assert "public, late (not ranked)" in done.out
    assert kit("submit", "--json", "--yes").json["late"] is True


def test_a_closed_competition(kit, server, run):
    server.competitions[SLUG].submissions_disabled = True
    assert "takes no submissions" in kit("submit", code=2).err
    assert "StartSubmissionUpload" not in asked(server)
