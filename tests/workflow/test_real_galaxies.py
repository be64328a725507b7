"""What the README promises, on real galaxies: Galaxy Zoo 1 from pictures to a report, then five bands of DES."""

from pathlib import Path

import numpy as np
import pytest

import tuningfork
from tuningfork.errors import BandError

MERGE = {"spiral": ("spiral_clockwise", "spiral_anticlockwise")}


@pytest.fixture(scope="module")
def gz1_run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gz1")
    done = tuningfork.ingest(real_data / "gz1", folder / "store", labels=real_data / "gz1" / "labels.csv")
    assert (done.n_in, done.n_done, done.n_rejected) == (5649, 5649, 0)
    changes = {
        "labels.merge": MERGE, "labels.drop": ("dont_know",), "display.crop": 212.0, "train.balance": "sqrt",
        "split.method": "stratified", "model.backbone": "mobilenetv4_small", "train.epochs": 3, "train.ema": 0.98,
    }  # fmt: skip
    trained = tuningfork.train(folder / "store", folder / "run", labels="class", changes=changes)
    assert trained.n_in == trained.n_done + trained.n_rejected == 5601  # 48 "don't know" are dropped, and said to be
    return folder


def test_galaxy_zoo_1_from_pictures_to_a_report(real_data: Path, gz1_run: Path) -> None:
    done = tuningfork.predict(gz1_run / "store", gz1_run / "run", gz1_run / "votes.parquet", part="test")
    assert done.n_in == done.n_done > 800
    truth = real_data / "gz1" / "labels.csv"
    judged = tuningfork.evaluate(gz1_run / "votes.parquet", truth, gz1_run / "report.html", bootstrap=200)
    metrics = judged.numbers["metrics"]
    assert judged.n_judged == done.n_done
    # three epochs: far below a finished network, far above what ignoring the picture can reach (0.25 and 0.5)
    assert metrics["balanced_accuracy"]["low"] > 0.35
    assert metrics["macro_roc_auc"]["low"] > 0.7
    page = (gz1_run / "report.html").read_text()
    for section in ("Data and split", "Confusion", "Calibration", "Learning curves", "Galleries"):
        assert section in page


def test_five_bands_of_des_and_a_network_of_other_bands(real_data: Path, gz1_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("galsim")
    des, bands = str(real_data / "fits" / "des_{band}.fits"), ("g", "r", "i", "z", "Y")
    sky = tuningfork.simulate_galaxies(240, tmp_path / "sky", survey="des", bands=bands, colour=False)
    assert sky.pixel_scale == pytest.approx(0.263)
    changes = {"labels.merge": MERGE, "model.backbone": "mobilenetv4_small", "train.epochs": 2}
    tuningfork.train(sky, tmp_path / "run", changes=changes)
    out = tmp_path / "des.parquet"
    done = tuningfork.predict(des, tmp_path / "run", out, bands=bands)
    votes = tuningfork.Votes.read(out)
    assert done.n_in == done.n_done + done.n_rejected == len(votes.ids) == 46
    assert np.isfinite(votes.values[votes.done]).all()
    with pytest.raises(BandError, match="red, green, blue"):
        tuningfork.predict(des, gz1_run / "run", tmp_path / "no.parquet", bands=bands)
