import json

from experiments.benchmark import inputs


def test_what_is_prepared_is_read_sooner_than_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "COUNT", 40)
    records = inputs.run(only="", rounds=2, workdir=tmp_path)
    assert [record["images"] for record in records] == ["224 crop", "320 fit"]
    assert json.loads((tmp_path / "input.json").read_text()) == records
    for record in records:
        assert 0 < 3 * record["prepared"] < record["folder"]
        assert record["folder"] < 2 * record["preparing"]
    pixels = [3 * 224 * 224, 3 * 320 * 240]
    for record, count in zip(records, pixels, strict=True):
        assert count < record["bytes"] < 1.1 * count
