from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import Settings
from pipeline.todo import Lane, Todo, share_out
from schemas.video_list import VideoRow


def todo(url: str, number: int = 0) -> Todo:
    return Todo(VideoRow(f"v{number}", url, extra={"title": "ü"}), "train")


def test_the_host_of_an_address():
    assert todo("https://www.Example.org:8080/v?x=1").host == "example.org"
    assert todo("/videos/a.mp4").host == ""
    assert todo("s3://bucket/a.mp4").host == ""


def test_a_lane_is_one_line_of_text():
    (lane,) = share_out([todo("http://a.org/1"), todo("b.mp4", 1)], 1, 2, Settings(teachers=()))
    line = lane.to_json()
    assert "\n" not in line
    assert Lane.from_json(line) == lane


urls = st.sampled_from(["http://a.org/x", "http://b.org/x", "/files/x.mp4"])


@given(st.lists(urls, max_size=60), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 9))
def test_the_limits_of_a_host_hold_for_all_lanes_together(urls, lanes, per_host, rate):
    settings = Settings(teachers=(), per_host=per_host, host_rate=rate)
    todos = [todo(url, number) for number, url in enumerate(urls)]
    shared = share_out(todos, lanes, 2, settings)
    assert sorted(t.row.video_id for lane in shared for t in lane.todos) == sorted(
        t.row.video_id for t in todos
    )
    for host in ("a.org", "b.org"):
        know = [lane for lane in shared if any(t.host == host for t in lane.todos)]
        assert sum(lane.per_host for lane in know) <= per_host
        assert sum(1 / lane.gap_seconds for lane in know) <= rate * (1 + 1e-9)
    assert share_out(todos, lanes, 2, settings) == shared
    files = [sum(not t.host for t in lane.todos) for lane in shared]
    assert not files or max(files) - min(files) <= 1 or len(shared) < lanes
