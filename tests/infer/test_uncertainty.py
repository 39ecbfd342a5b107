import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_project import run_stage

from salt.dataset import open_stacks
from salt.errors import ModelError, StoreError
from salt.files import read_array, read_csv, read_json
from salt.infer.uncertainty import (
    as_levels,
    binary_entropy,
    dropout_switched_on,
    measure_fold,
    moments,
    sample_passes,
    sample_views,
)
from salt.infer.views import SCALE, View
from salt.maps import LN2, MAXIMA
from salt.models.decoder import DropoutSite
from salt.models.predict import predict
from salt.models.registry import load_model
from salt.models.segmenter import Segmentation
from salt.padding import crop


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def entropy(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def fix_masks(model, rows: int) -> None:
    """Make every active site use up `rows` masks fixed in advance, in order and never again."""
    draw = torch.Generator().manual_seed(0)
    for site in (m for m in model.modules() if isinstance(m, DropoutSite) and m.p > 0):
        masks: list[torch.Tensor] = []

        def drop(features: torch.Tensor, masks=masks) -> torch.Tensor:
            if not masks:
                kept = torch.rand(rows, features.shape[1], 1, 1, generator=draw) > 0.3
                masks.extend(kept.float() / 0.7)
            taken = [masks.pop(0) for _ in features]
            return features * torch.stack(taken)

        site.forward = drop


def test_binary_entropy_is_the_one_by_hand() -> None:
    values = binary_entropy(torch.tensor([0.0, 0.25, 0.5, 1.0])).tolist()
    assert values == pytest.approx([0, entropy(0.25), math.log(2), 0])


def test_the_moments_of_two_passes_are_those_by_hand() -> None:
    probability = torch.tensor([0.2, 0.6]).view(2, 1, 1, 1)
    summary = moments(probability, torch.tensor([[0.1], [0.5]]))
    assert summary.mean.item() == pytest.approx(0.4)
    assert summary.variance.item() == pytest.approx(0.04)
    assert summary.entropy.item() == pytest.approx(entropy(0.4))
    disagreement = entropy(0.4) - (entropy(0.2) + entropy(0.6)) / 2
    assert summary.mutual_information.item() == pytest.approx(disagreement, rel=1e-4)
    assert summary.presence.item() == pytest.approx(0.3)
    assert summary.presence_std.item() == pytest.approx(0.2)


def test_passes_that_contradict_each_other_fully_reach_the_maxima() -> None:
    probability = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    summary = moments(probability, torch.zeros(2, 1))
    for name, maximum in MAXIMA.items():
        assert getattr(summary, name).item() == pytest.approx(maximum)


def test_passes_that_agree_have_entropy_but_no_mutual_information() -> None:
    summary = moments(torch.full((5, 1, 1, 1), 0.3), torch.full((5, 1), 0.3))
    assert summary.entropy.item() == pytest.approx(entropy(0.3))
    assert summary.mutual_information.item() == pytest.approx(0, abs=1e-6)
    assert summary.variance.item() == pytest.approx(0, abs=1e-6)


def test_mutual_information_is_never_negative_and_never_above_the_entropy() -> None:
    probability = torch.rand(4, 2, 30, 30, generator=torch.Generator().manual_seed(0))
    probability[:, 1] = probability[:1, 1]  # equal passes: rounding could go below zero
    summary = moments(probability, torch.rand(4, 2))
    assert (summary.mutual_information >= 0).all()
    assert (summary.mutual_information <= summary.entropy + 1e-6).all()


def test_levels_span_zero_to_the_maximum() -> None:
    values = torch.tensor([0.0, LN2 / 255, LN2 / 2, LN2, 2 * LN2])
    assert as_levels(values, LN2).tolist() == [0, 1, 128, 255, 255]


def test_one_pass_is_the_plain_deterministic_prediction(make_segmenter, images) -> None:
    model = make_segmenter()
    first, second = (sample_passes(model, images, passes=1, size=101) for _ in range(2))
    assert torch.equal(first[0], second[0])
    expected = torch.sigmoid(model(images).mask_logits[:, 0, 13:114, 13:114])
    torch.testing.assert_close(first[0][0], expected)
    assert first[0].shape == (1, 3, 101, 101)
    assert first[1].shape == (1, 3)


def test_several_passes_differ_from_each_other(make_segmenter, images) -> None:
    probability, presence = sample_passes(make_segmenter(), images, passes=3, size=101)
    assert probability.shape == (3, 3, 101, 101)
    for tile in range(3):
        assert not torch.equal(probability[0, tile], probability[1, tile])
        assert len(presence[:, tile].unique()) == 3


def test_passes_repeat_with_the_seed(make_segmenter, images) -> None:
    model, samples = make_segmenter(), []
    for _ in range(2):
        torch.manual_seed(4)
        samples.append(sample_passes(model, images, passes=2, size=101)[0])
    assert torch.equal(*samples)


@pytest.mark.parametrize("sites", ["early", "late", "head"])
@pytest.mark.parametrize("batch_size", [64, 6, 1])  # five passes at once, two by two, singly
def test_passes_equal_a_loop_over_whole_passes_with_the_same_masks(
    make_segmenter, images, monkeypatch: pytest.MonkeyPatch, sites: str, batch_size: int
) -> None:
    monkeypatch.setattr("salt.infer.uncertainty.BATCH_SIZE", batch_size)
    model, passes = make_segmenter(dropout_sites=sites), 5
    fix_masks(model, passes * len(images))
    sampled, sampled_presence = sample_passes(model, images, passes, size=101)
    fix_masks(model, passes * len(images))
    for turn in range(passes):
        output = model(images)
        expected = torch.sigmoid(output.mask_logits[:, 0, 13:114, 13:114])
        torch.testing.assert_close(sampled[turn], expected, rtol=1e-4, atol=1e-6)
        expected = torch.sigmoid(output.presence_logits[:, 0])
        torch.testing.assert_close(sampled_presence[turn], expected, rtol=1e-4, atol=1e-6)


def test_passes_of_a_full_batch_are_to_the_bit_those_of_a_seeded_loop(
    make_segmenter, images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salt.infer.uncertainty.BATCH_SIZE", len(images))
    model = make_segmenter()
    torch.manual_seed(4)
    sampled, _ = sample_passes(model, images, passes=3, size=101)
    torch.manual_seed(4)
    with dropout_switched_on(model):
        naive = [torch.sigmoid(crop(model(images).mask_logits, 101))[:, 0] for _ in range(3)]
    assert torch.equal(sampled, torch.stack(naive))


def test_only_what_lies_behind_the_first_site_runs_more_than_once(make_segmenter, images) -> None:
    model = make_segmenter()  # late: one block behind the first site
    runs = dict.fromkeys(["encoder", "pyramid", "blocks.0", "blocks.2", "blocks.3", "head"], 0)
    modules = [model.encoder, model.pyramid, *(model.decoder.blocks[i] for i in (0, 2, 3))]
    for name, module in zip(runs, [*modules, model.mask_head], strict=True):

        def count(_, inputs, __, name=name) -> None:
            runs[name] += len(inputs[0])

        module.register_forward_hook(count)
    sample_passes(model, images, passes=20, size=101)
    assert runs == dict.fromkeys(["encoder", "pyramid", "blocks.0", "blocks.2"], 3) | {
        "blocks.3": 60,
        "head": 60,
    }


def test_sampling_leaves_the_model_as_it_was(make_segmenter, images) -> None:
    model = make_segmenter()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    plain = model(images).mask_logits
    sample_passes(model, images, passes=3, size=101)
    assert all(torch.equal(before[key], t) for key, t in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert torch.equal(model(images).mask_logits, plain)


def test_only_dropout_sites_are_switched_on(make_segmenter) -> None:
    model = make_segmenter()
    with dropout_switched_on(model):
        active = [module for module in model.modules() if module.training]
    assert active
    assert all(isinstance(module, DropoutSite) and module.p > 0 for module in active)


def test_a_model_without_dropout_cannot_disagree_with_itself(make_segmenter, images) -> None:
    model = make_segmenter(decoder_dropout=0.0)
    sample_passes(model, images, passes=1, size=101)
    with pytest.raises(ModelError, match=r"no active dropout site.*decoder_dropout above 0"):
        sample_passes(model, images, passes=2, size=101)


@pytest.mark.parametrize("tta", ["flip", "flip_shift"])
def test_the_passes_of_every_view_land_on_the_plain_ones(make_segmenter, images, tta) -> None:
    model = make_segmenter()
    # a network that answers pixel by pixel has nothing to say about mirroring or moving
    model.settle = lambda tiles: tiles
    model.finish = lambda tiles: Segmentation(tiles[:, 1:2], None)
    plain = moments(*sample_views(model, images, passes=1, size=101, tta="none"))
    every = moments(*sample_views(model, images, passes=1, size=101, tta=tta))
    torch.testing.assert_close(every.mean, plain.mean)
    assert every.variance.max() < 1e-12


def test_views_are_the_passes_of_tile_and_mirror_image_together(make_segmenter, images) -> None:
    model = make_segmenter()
    summary = moments(*sample_views(model, images, passes=1, size=101, tta="flip"))
    plain, _ = sample_passes(model, images, passes=1, size=101)
    mirrored, _ = sample_passes(model, images, passes=1, size=101, view=View(mirror=True))
    torch.testing.assert_close(summary.mean, (plain[0] + mirrored[0]) / 2)
    torch.testing.assert_close(summary.variance, (plain[0] - mirrored[0]) ** 2 / 4)


def test_a_view_at_another_scale_needs_no_margin_and_joins_the_mean(make_segmenter, images) -> None:
    model, small = make_segmenter(), View(scale=SCALE)
    tiles = images[..., :101, :101]
    model.settle = lambda tiles: tiles  # a network of its own would need 128 pixels
    model.finish = lambda tiles: Segmentation(tiles[:, 1:2], None)
    every, _ = sample_views(model, tiles, passes=1, size=101, tta="flip_scale")
    plain, _ = sample_passes(model, tiles, passes=1, size=101)
    shrunk, _ = sample_passes(model, tiles, passes=1, size=101, view=small)
    torch.testing.assert_close(every, torch.cat([plain, shrunk, plain, shrunk]))


def test_a_tile_is_not_moved_beyond_its_margin(make_segmenter) -> None:
    images = torch.randn(1, 3, 104, 104)
    with pytest.raises(ModelError, match=r"moves tiles by 4 pixels.*104 leaves a margin of 1"):
        sample_views(make_segmenter(), images, passes=1, size=101, tta="flip_shift")


@pytest.mark.parametrize("part", ["oof", "test"])
def test_the_stage_writes_every_map_of_its_tiles(finished_project: Path, part: str) -> None:
    folder = finished_project / "data/uncertainty/1"
    tiles = read_csv(folder / f"{part}_tiles.csv")
    mean = read_array(folder / f"{part}_mean.npy")
    assert mean.dtype == np.float16
    assert mean.shape == (len(tiles), 101, 101)
    levels = {name: read_array(folder / f"{part}_{name}.npy") for name in MAXIMA}
    assert {array.dtype for array in levels.values()} == {np.dtype(np.uint8)}
    p = mean.astype(np.float64).clip(1e-9, 1 - 1e-9)
    expected = (-p * np.log(p) - (1 - p) * np.log(1 - p)) / LN2 * 255
    np.testing.assert_allclose(levels["entropy"], expected, atol=1)
    assert levels["mutual_information"].any()
    assert levels["variance"].any()
    assert tiles[["presence", "presence_std"]].notna().all(axis=None)


def test_the_held_out_and_the_test_tiles_are_measured(finished_project: Path) -> None:
    ids = {
        (fold, part): list(
            read_csv(finished_project / f"data/uncertainty/{fold}/{part}_tiles.csv")["id"]
        )
        for fold in (0, 1)
        for part in ("oof", "test")
    }
    labelled = [f"a{tile:02d}" for tile in range(24)]
    assert sorted(ids[0, "oof"] + ids[1, "oof"]) == labelled
    assert ids[0, "test"] == ids[1, "test"] == [f"b{tile:02d}" for tile in range(6)]


def test_the_views_without_dropout_are_kept_for_held_out_tiles(finished_project: Path) -> None:
    data = finished_project / "data"
    store, stacks = open_stacks(data / "ingest", data / "index", width=3)
    rows = store.rows_of(read_csv(data / "uncertainty/1/oof_tiles.csv")["id"])
    expected, _ = predict(load_model(data / "student/1"), store.images, stacks[rows], flip=True)
    views = read_array(data / "uncertainty/1/oof_views.npy")
    np.testing.assert_allclose(views, expected, atol=1e-3)
    assert not (data / "uncertainty/1/test_views.npy").exists()
    assert read_json(data / "uncertainty/1/summary.json") == {"passes": 2, "tta": "flip"}


@pytest.mark.parametrize("tiles_at_once", [64, 5])
def test_one_pass_without_flips_is_what_training_predicted(
    finished_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiles_at_once: int
) -> None:
    monkeypatch.setattr("salt.infer.uncertainty.BATCH_SIZE", tiles_at_once)
    measure_fold(
        finished_project / "data/train/0",
        finished_project / "data/ingest",
        finished_project / "data/index",
        fold=0,
        passes=1,
        tta="none",
        precision="fp32",
        device=torch.device("cpu"),
        out=tmp_path,
    )
    measured = read_array(tmp_path / "oof_mean.npy")
    trained = read_array(finished_project / "data/train/0/oof_probability.npy")
    np.testing.assert_allclose(measured, trained, atol=1e-3)
    assert not read_array(tmp_path / "oof_variance.npy").any()
    assert not (tmp_path / "oof_views.npy").exists()  # it would be the mean again


def test_the_test_maps_come_from_the_test_tiles(finished_project: Path, tmp_path: Path) -> None:
    train, data = finished_project / "data/train/0", finished_project / "data"
    settings = {"passes": 1, "tta": "flip", "precision": "fp32", "device": torch.device("cpu")}
    measure_fold(train, data / "ingest", data / "index", fold=0, out=tmp_path, **settings)
    store, stacks = open_stacks(data / "ingest", data / "index", width=3)
    expected, _ = predict(load_model(train), store.images, stacks[24:], flip=True)
    np.testing.assert_allclose(read_array(tmp_path / "test_mean.npy"), expected, atol=1e-3)


def test_without_a_network_the_missing_file_is_named(project: Path) -> None:
    with pytest.raises(StoreError, match=r"data/student/0/config.json: no such file"):
        run_stage(project, "uncertainty", 0)
