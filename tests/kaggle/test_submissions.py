"""The list of submissions, and what it leaves in the records of runs."""

from datetime import UTC, datetime

from helpers.submit_runs import SCORE, SLUG, asked, csv_of, digest, fill, record
from kit.kaggle import submissions
from kit.run import Run

pytest_plugins = ["helpers.submit_fixtures"]


def test_without_waiting_it_is_recorded_and_listed_later(kit, server, run):
    server.next_submission(["COMPLETE"], public="0.9")
    done = kit("submit", run.id, "-m", "larger  images\nand more", "--json").json
    assert (done["sent"], done["ref"], done["status"], done["left_today"]) == (True, 1000, "PENDING", 4)
    assert (done["run"], done["path"], done["valid"], done["findings"]) == (run.id, str(csv_of(run)), True, [])
    assert (done["public"], done["private"], done["cross_validated"]) == (None, None, SCORE)
    assert asked(server).count("ListSubmissions") == 1
    assert record(run)["submissions"][0]["status"] == "PENDING"
    assert "leaderboard" not in record(run)
    listed = kit("submissions", "histo", "--json").json
    assert listed["competition"] == "histopathology"
    [row] = listed["submissions"]
    assert row == {
        "ref": 1000,
        "date": row["date"],
        "status": "COMPLETE",
        "public": 0.9,
        "private": None,
        "error": "",
        "message": "larger images and more",
        "file": "submission.csv",
        "run": run.id,
    }
    assert record(run)["leaderboard"] == {"public": 0.9, "private": None}
    assert record(run)["submissions"][0]["date"] == row["date"]


def test_the_newest_score_is_the_leaderboards(kit, server, run):
    for score in ("0.91", "0.88"):
        server.next_submission(["COMPLETE"], public=score)
        kit("submit", "--wait", "--yes")
    server.next_submission(["ERROR"], error="rows")
    kit("submit", "--wait", "--yes", code=2)
    assert record(run)["leaderboard"] == {"public": 0.88, "private": None}


def test_the_list_knows_runs_by_their_marks_and_shows_what_is_there(kit, server, run):
    assert "nothing has been submitted to histopathology yet" in kit("submissions", "histo").out
    kit("submit", "--dry-run")
    dates = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
    server.add_submission(SLUG, "by hand", date=dates[2], public="0.5", private="0.4")
    server.add_submission(SLUG, f"elsewhere [kit {digest(csv_of(run))[:12]}]", date=dates[0], public="0.77")
    server.add_submission(SLUG, "odd [kit 0123456789ab]", date=dates[1], statuses=["HALF_DONE"])
    document = kit("submissions", "histo", "--json").json["submissions"]
    assert [(row["ref"], row["message"], row["status"], row["run"]) for row in document] == [
        (1000, "by hand", "COMPLETE", None),
        (1002, "odd", "HALF_DONE", None),
        (1001, "elsewhere", "COMPLETE", run.id),
    ]
    [entry] = record(run)["submissions"]
    assert (entry["ref"], entry["public"], entry["sha256"]) == (1001, 0.77, digest(csv_of(run)))
    out = kit("submissions", "histo").out
    assert all(word in out for word in ("by hand", "0.77", "HALF_DONE", "2026-03-02", run.id))
    assert "public 0.77" in kit("log", "histo").out


def test_more_than_a_page_is_listed(kit, server, run):
    fill(server, 230)
    assert len(kit("submissions", "histo", "--json").json["submissions"]) == 230


def test_updates_keep_what_others_wrote_meanwhile(kit, server, run):
    server.next_submission(["PENDING", "COMPLETE"], public="0.9")
    stale = Run.open(run.path)
    Run.open(run.path).update(note="written meanwhile")
    submissions.enter(stale, submissions.Submission.read({"ref": 7, "status": "COMPLETE"}), "a" * 64)
    assert record(run)["note"] == "written meanwhile"
