"""dataset_info.json, the ledger and the video list."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import SchemaError, video_list
from schemas.dataset_info import DatasetInfo, RunInfo, ShardInfo, TeacherInfo
from schemas.ledger import CAUSES, LedgerRow, latest
from schemas.video_list import VideoRow, draw_split, parse

INFO = DatasetInfo(
    teachers=[TeacherInfo("imagenet", "vgg16", ["cat", "dog"], "caffe", "0" * 64)],
    audio_codec="flac",
    splits={"train": [ShardInfo("train-00000.tfrecord", 3, 1000)]},
    runs=[RunInfo("ledger-00000.jsonl", {"keras": "3"})],
)


class TestDatasetInfo:
    def test_round_trip(self):
        assert DatasetInfo.from_json(INFO.to_json()) == INFO
        assert INFO.steps_per_clip == 4
        assert INFO.records("train") == 3
        assert INFO.records("test") == 0

    def test_unknown_teacher_names_those_there_are(self):
        with pytest.raises(SchemaError, match="'places'; it has imagenet"):
            INFO.teacher("places")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"schema_version": 2}, "version 2; this code reads version 1"),
            ({"audio_codec": "opus"}, "opus"),
            ({"sample_rate": 16000}, "16000 Hz"),
            ({"surprise": 1}, "surprise"),
            ({"teachers": [{"name": "x"}]}, "doesn't fit the schema"),
            ({"splits": 3}, "doesn't fit the schema"),
            ({"splits": {"train": [{"file": "a", "records": "3", "bytes": 1}]}}, "fit.*'3'"),
            ({"step_seconds": 0}, "doesn't fit the schema: 0"),
            (
                {"teachers": [{**dataclasses.asdict(INFO.teachers[0]), "classes": "cat"}]},
                "the classes of imagenet",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, change, message):
        data = {**json.loads(INFO.to_json()), **change}
        with pytest.raises(SchemaError, match=message):
            DatasetInfo.from_json(json.dumps(data))

    @pytest.mark.parametrize("text", ["", "[]", "{", "null"])
    def test_other_text_is_refused(self, text):
        with pytest.raises(SchemaError, match=r"dataset_info\.json"):
            DatasetInfo.from_json(text)


class TestLedger:
    ROW = LedgerRow("v", "u", "train", "download", "failed", cause="network", message="reset")

    def test_round_trip(self):
        assert LedgerRow.from_json(self.ROW.to_json()) == self.ROW

    def test_the_last_word_counts(self):
        done = dataclasses.replace(self.ROW, outcome="done", cause="", stage="write", attempts=2)
        assert latest([self.ROW, done]) == {"v": done}

    @pytest.mark.parametrize(
        "change",
        [{"stage": "?"}, {"outcome": "?"}, {"cause": ""}, {"cause": "bad luck"}],
    )
    def test_only_named_causes_and_stages(self, change):
        with pytest.raises(SchemaError):
            dataclasses.replace(self.ROW, **change)

    @pytest.mark.parametrize("line", ["", "{}", "[1]", '{"schema_version": 1}', "nul"])
    def test_other_lines_are_refused(self, line):
        with pytest.raises(SchemaError):
            LedgerRow.from_json(line)

    def test_causes_are_explained(self):
        assert all(cause.meaning for cause in CAUSES.values())


class TestVideoList:
    def test_csv_with_all_columns(self):
        text = "url,id,start,end,split,tag\nhttps://a.org/v,x,1.5,30,test,dog\nclip.mp4,,,,,\n"
        rows, bad = parse(text, "list.csv")
        assert not bad
        assert rows[0] == VideoRow("x", "https://a.org/v", 1.5, 30.0, "test")
        assert rows[0].extra == {"tag": "dog"}
        assert rows[1].video_id == video_list.default_id("clip.mp4")
        assert [row.is_local for row in rows] == [False, True]

    def test_the_same_rows_in_every_format(self):
        urls = ["https://a.org/1", "dir/b c.mp4", "https://a.org/3"]
        plain, _ = parse("# mine\n" + "\n\n".join(urls) + "\n", "urls_public.txt")
        table, _ = parse("url\n" + "\n".join(urls), "l.csv")
        lines, _ = parse("\n".join(json.dumps({"url": url}) for url in urls), "l.jsonl")
        assert plain == table == lines

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (",x,,,", "no url"),
            ("u,x,abc,,", "start is 'abc'"),
            ("u,x,nan,,", "start is 'nan'"),
            ("u,x,9,3,", "not after start"),
            ("u,x,,,dev", "unknown split 'dev'"),
            ("u,x", "columns"),
            ("u,x,,,,,,", "columns"),
        ],
    )
    def test_a_bad_row_is_named_and_the_others_are_read(self, line, message):
        rows, bad = parse(f"url,id,start,end,split\n{line}\ngood,y,,,\n", "l.csv")
        assert [row.video_id for row in rows] == ["y"]
        assert len(bad) == 1
        assert bad[0].line == 2
        assert message in bad[0].message

    def test_one_id_for_two_videos_is_a_bad_row_and_a_repeated_row_is_not(self):
        rows, bad = parse("url,id\na,x\na,x\nb,x\n", "l.csv")
        assert len(rows) == 1
        assert len(bad) == 1
        assert "already stands for 'a'" in bad[0].message

    def test_a_table_without_url_is_refused(self):
        with pytest.raises(SchemaError, match=r"l\.csv has no column 'url'; its header is link, x"):
            parse("link,x\n1,2\n", "l.csv")

    def test_json_lines_that_are_not_objects_are_bad_rows(self):
        rows, bad = parse('{"url": "a"}\n[1]\n{\n"text"\n', "l.jsonl")
        assert len(rows) == 1
        assert [row.line for row in bad] == [2, 3, 4]

    def test_the_authors_list(self):
        """`urls_public.txt`: the page that yt-dlp knows, with Flickr's id, as in their frames'
        paths `.../<id>.mp4/...`."""
        line = "http://www.flickr.com/videos/28042570@N08/4637976820/play/orig/5b222e6773"
        other = "http://www.flickr.com/videos/anna-b/17/play/orig/0123456789"
        rows, bad = parse(f"{line}\r\n{other}\n{line}\n", "urls_public.txt")
        assert not bad
        assert rows == [
            VideoRow("4637976820", "https://www.flickr.com/photos/28042570@N08/4637976820/"),
            VideoRow("17", "https://www.flickr.com/photos/anna-b/17/"),
        ]
        assert rows[0].extra == {"listed_url": line}
        (row,), _ = parse(f"url,id,start\n{line},mine,\n", "l.csv")
        assert row.video_id == "mine"
        (row,), _ = parse(f"url,id,start\n{line},,5\n", "l.csv")
        assert row.video_id == video_list.default_id(rows[0].url, 5.0)

    @pytest.mark.parametrize(
        "url",
        [
            "https://www.flickr.com/photos/28042570@N08/4637976820/",
            "https://flickr.com.example.org/videos/a/1/play/orig/b",
            "https://www.flickr.com/videos/a/b/play/orig/c",
        ],
    )
    def test_other_addresses_stay_as_they_are(self, url):
        (row,), _ = parse(url)
        assert (row.url, row.video_id, row.extra) == (url, video_list.default_id(url), {})

    @given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), max_size=8))
    def test_no_line_is_lost(self, urls):
        urls = [url for url in urls if not url.startswith("#")]
        rows, bad = parse("\n".join(urls))
        assert not bad
        assert {row.url for row in rows} == set(urls)
        assert len({row.video_id for row in rows}) == len(rows)

    def test_paths_are_relative_to_the_list_and_ids_stay(self):
        (row,), _ = parse("a.mp4")
        moved = row.under(Path("/videos"))
        assert (moved.url, moved.video_id) == ("/videos/a.mp4", row.video_id)
        (row,), _ = parse("https://a.org/a.mp4")
        assert row.under(Path("/videos")) is row

    def test_splits_are_drawn_by_sha256(self):
        """Pinned: a video must never change sides between releases."""
        assert [draw_split(f"video{i}", 0.3) for i in range(6)] == DRAWN
        share = sum(draw_split(str(i), 0.07) == "validation" for i in range(20000)) / 20000
        assert 0.065 < share < 0.075


DRAWN = ["validation", "train", "train", "validation", "train", "train"]
