"""Sending to Kaggle and the way back of the score, through the real client and a local server."""

from typing import Any

import pytest

from helpers.submit_runs import asked, csv_of, digest, fill, on_board, record
from kit.console import Console
from kit.kaggle import retry, submissions

pytest_plugins = ["helpers.submit_fixtures"]


def test_what_was_sent_is_scored_shown_and_recorded(kit, server, run, slept):
    server.next_submission(["PENDING", "PENDING", "COMPLETE"], public="0.96123", private="0.95")
    done = kit("submit", "histo", "--wait")
    assert "today: 0 of 5 submissions used, 5 left (resets at 00:00 UTC)" in done.out
    table = done.out.splitlines()
    for words in (("cross-validated", "0.9712", "0.9690 to 0.9733"), ("public", "0.96123"), ("private", "0.95")):
        assert any(all(word in line for word in words) for line in table), words
    assert slept == [2.0, 3.0]
    assert asked(server).count("ListSubmissions") == 4
    [sent], [upload] = on_board(server), server.uploads
    assert upload.content == csv_of(run).read_bytes()
    assert upload.file_name == "submission.csv"
    text = f"{run.id}, efficientnet_lite0, cross-validated roc_auc 0.9712"
    assert sent.description == f"{text} [kit {digest(csv_of(run))[:12]}]"
    [entry] = record(run)["submissions"]
    assert (entry["ref"], entry["sha256"], entry["message"]) == (sent.ref, digest(csv_of(run)), text)
    assert (entry["status"], entry["public"], entry["private"], entry["error"]) == ("COMPLETE", 0.96123, 0.95, "")
    assert record(run)["leaderboard"] == {"public": 0.96123, "private": 0.95}
    assert "public 0.96123, private 0.95" in kit("log", "histo").out
    assert "late" not in done.out


def test_without_waiting_people_are_told_where_the_score_will_be(kit, server, run):
    done = kit("submit")
    assert "sent as 1000" in done.out
    assert "kit submissions histopathology shows the score" in done.out


def test_a_refused_file_says_why(kit, server, run):
    server.next_submission(["PENDING", "ERROR"], error="Evaluation Exception: the column\n'label' is missing")
    done = kit("submit", "--wait", code=2)
    assert "can't score submission 1000: Evaluation Exception: the column 'label' is missing" in done.out
    [entry] = record(run)["submissions"]
    assert (entry["status"], entry["error"]) == ("ERROR", "Evaluation Exception: the column 'label' is missing")
    assert "leaderboard" not in record(run)
    server.next_submission(["ERROR"], error="rows")
    document = kit("submit", "--wait", "--json", "--yes", code=2).json
    assert (document["sent"], document["ref"], document["status"], document["error"]) == (True, 1001, "ERROR", "rows")
    assert "1001: rows" in kit("submissions", "histo").out


def test_an_unknown_status_is_named_once_and_waited_for(kit, server, run):
    server.next_submission([None, "QUEUED_AGAIN", "QUEUED_AGAIN", "COMPLETE"], public="0.9")
    done = kit("submit", "--wait", "--json")
    assert done.err.count("'QUEUED_AGAIN'") == 1
    assert done.json["public"] == 0.9


def test_a_score_that_never_comes_is_not_waited_for_for_ever(kit, server, run, slept, monkeypatch):
    monkeypatch.setattr(submissions, "LONGEST_WAIT", 60.0)
    server.next_submission(["ODD"])
    done = kit("submit", "--wait", code=4)
    assert "submission 1000 is still ODD after 1 min 00 s: kit submissions histopathology" in done.err
    assert slept == [2.0, 3.0, 4.5, 6.75, 10.125, 15.0, 15.0, 15.0]
    assert "ODD" in kit("submissions", "histo").out


def test_a_broken_network_does_not_end_the_waiting(kit, server, run):
    server.next_submission(["PENDING", "COMPLETE"], public="0.9")
    server.fault("ListSubmissions", status=503, times=12, skip=2)
    assert kit("submit", "--wait", "--json").json["status"] == "COMPLETE"
    assert not server.pending_faults


def test_an_interruption_while_waiting_says_what_is_sent(kit, server, run, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retry, "sleep", interrupt)
    done = kit("submit", "--wait", code=130)
    assert done.err == "error: interrupted, but sent as 1000: kit submissions histopathology shows the score\n"
    assert record(run)["submissions"][0]["ref"] == 1000


DOUBTS: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": 500}),
    ("status", {"status": 504}),
    ("drop", {}),
    ("html", {}),
]


@pytest.mark.parametrize(("kind", "options"), DOUBTS)
def test_a_lost_answer_is_looked_up_not_repeated(kit, server, run, kind, options):
    fill(server, 1)
    server.fault("CreateSubmission", kind, after=True, **options)
    done = kit("submit", "--json")
    assert done.json["ref"] == 1001
    assert "leaves open whether it was sent" in done.err
    assert len(on_board(server)) == 2
    assert asked(server).count("CreateSubmission") == 1
    assert record(run)["submissions"][0]["ref"] == 1001


@pytest.mark.parametrize("after", [0, 10])
def test_a_cut_answer_is_looked_up_too(kit, server, run, after):
    server.fault("CreateSubmission", "cut", after=after)
    assert kit("submit", "--json").json["ref"] == 1000
    assert len(on_board(server)) == 1


def test_what_the_list_shows_late_is_found_all_the_same(kit, server, run, monkeypatch):
    server.fault("CreateSubmission", status=500, after=True)
    real, looks = submissions.Kaggle.submissions, []

    def lagging(self: Any, pages: int = 1) -> list[dict[str, Any]]:
        looks.append(pages)
        return real(self, pages) if len(looks) > 3 else []

    monkeypatch.setattr(submissions.Kaggle, "submissions", lagging)
    assert kit("submit", "--json").json["ref"] == 1000
    assert len(looks) == 4


@pytest.mark.parametrize(("kind", "options"), DOUBTS)
def test_what_the_list_never_shows_is_unknown_and_not_repeated(kit, server, run, kind, options, slept):
    kit("submit")  # the same bytes, earlier: not to be taken for this one
    server.fault("CreateSubmission", kind, **options)
    done = kit("submit", "--yes", code=4)
    error = done.err.splitlines()[-1]
    assert error.startswith("error: probably not sent (")
    assert error.endswith(
        "and not repeated: Kaggle does not list it; kit submissions histopathology shows what Kaggle has"
    )
    assert asked(server).count("CreateSubmission") == 2
    assert len(on_board(server)) == len(record(run)["submissions"]) == 1
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_an_answer_without_a_number_is_looked_up(kit, server, run, monkeypatch):
    real = server.CreateSubmission
    monkeypatch.setattr(server, "CreateSubmission", lambda ask: {"message": str(real(ask)["message"])})
    assert kit("submit", "--json").json["ref"] == 1000
    monkeypatch.setattr(server, "CreateSubmission", lambda ask: {"message": "Could not submit to competition"})
    assert "Could not submit to competition" in kit("submit", "--yes", code=4).err


def test_a_request_that_comes_too_soon_is_repeated_since_nothing_was_done(kit, server, run, slept):
    server.fault("CreateSubmission", status=429, headers={"Retry-After": "7"})
    assert kit("submit", "--json").json["ref"] == 1000
    assert slept == [7.0]
    assert len(on_board(server)) == 1


@pytest.mark.parametrize(
    ("kind", "options"),
    [("status", {"status": 503}), ("status", {"status": 403}), ("cut", {"after": 50}), ("drop", {}), ("expired", {})],
)
def test_an_upload_that_breaks_is_begun_anew(kit, server, run, kind, options):
    server.fault("upload", kind, times=2, **options)
    kit("submit")
    assert asked(server).count("upload") == 3
    assert server.uploads[-1].content == csv_of(run).read_bytes()
    [sent] = on_board(server)
    assert sent.upload is server.uploads[-1]


def test_an_upload_that_never_works_sends_nothing(kit, server, run):
    server.fault("upload", status=500, times=None)
    done = kit("submit", code=4)
    assert "the upload: Kaggle's storage refuses it (status 500)" in done.err.splitlines()[-1]
    assert on_board(server) == []
    assert "CreateSubmission" not in asked(server)


def test_a_description_keeps_to_its_length(kit, server, run):
    kit("submit", "-m", "x" * 1000)
    description = on_board(server)[0].description
    assert len(description) == 500
    assert description.endswith(f"x [kit {digest(csv_of(run))[:12]}]")


def test_waiting_prints_a_line_each_ten_seconds(capsys, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("kit.console.time.monotonic", lambda: float(next(clock)))
    with Console().waiting("submission 7") as waiting:
        for _ in range(6):
            waiting.tell("PENDING")
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 4
    assert all(line.startswith("submission 7: PENDING, ") for line in lines)
