"""Views of galaxies: identities of turns and mirrors, light kept, seeds that repeat, and statistics that match."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tuningfork.data.augment import (
    OFF,
    Augment,
    affine,
    augment,
    centre,
    check,
    margin,
    mirrored_views,
    principal_components,
)
from tuningfork.errors import RecipeError

SIZE = 32


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int = 8, side: int = SIZE) -> Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=seeded(1))


def galaxy(side: int, sigma: float = 4.0, x: float = 0.0, y: float = 0.0, stretch: float = 1.0) -> Tensor:
    """A Gaussian blob at (x, y) px from the centre, ``stretch`` times longer along x: (1, 1, side, side) uint8."""
    rows = torch.arange(side) - (side - 1) / 2
    r2 = ((rows[None, :] - x) / stretch) ** 2 + (rows[:, None] - y) ** 2
    return (250 * torch.exp(-r2 / (2 * sigma**2))).round().to(torch.uint8)[None, None]


def only(**changes: object) -> Augment:
    return replace(OFF, **changes)  # type: ignore[arg-type]


def test_with_everything_off_it_is_exactly_the_central_crop() -> None:
    batch = noise(side=SIZE + 10)
    assert torch.equal(augment(batch, OFF, SIZE, seeded()), batch[..., 5:-5, 5:-5].float() / 255)
    assert margin(OFF, SIZE) == 0


def test_chances_of_zero_leave_every_galaxy_as_it_was() -> None:
    never = {f"{kind}_chance": 0.0 for kind in ("rotate", "flip", "transpose", "shift", "zoom", "crop")}
    never |= {f"{kind}_chance": 0.0 for kind in ("blur", "colour", "noise")}
    choice = Augment(transpose=True, crop=0.3, blur=2.0, colour=1.0, noise=0.5, **never)  # type: ignore[arg-type]
    batch = noise(side=SIZE + 6)
    views = augment(batch, choice, SIZE, seeded(), colours=torch.eye(3))
    assert torch.allclose(views, centre(batch, SIZE), atol=1e-5)  # sampling at pixel centres: float32 rounding alone


def test_quarter_turns_permute_pixels_and_four_are_the_identity() -> None:
    quarter = only(rotate=True, rotate_step=90.0)
    for seed in range(6):
        batch = noise(1)
        view = augment(batch, quarter, SIZE, seeded(seed))
        turns = [torch.rot90(centre(batch, SIZE), k, (2, 3)) for k in range(4)]
        k = [torch.allclose(view, t, atol=1e-5) for t in turns].index(True)
        again = (torch.round(view * 255)).to(torch.uint8)
        for _ in range(3):
            again = torch.round(augment(again, quarter, SIZE, seeded(seed)) * 255).to(torch.uint8)
        assert torch.equal(again, torch.rot90(batch, 4 * k, (2, 3)))


def test_mirrors_undo_themselves_and_are_flips() -> None:
    batch = noise(64)
    view = augment(batch, only(flip=True), SIZE, seeded(4))
    plain = centre(batch, SIZE)
    kinds = [plain, plain.flip(3), plain.flip(2), plain.flip(2, 3)]
    which = torch.stack([(view - k).abs().amax(dim=(1, 2, 3)) < 1e-5 for k in kinds]).int().argmax(dim=0)
    assert set(which.tolist()) == {0, 1, 2, 3}
    twice = augment(torch.round(view * 255).to(torch.uint8), only(flip=True), SIZE, seeded(4))
    assert torch.allclose(twice, plain, atol=1e-5)


def test_transposing_is_transposing() -> None:
    batch = noise()
    view = augment(batch, only(transpose=True, transpose_chance=1.0), SIZE, seeded())
    assert torch.allclose(view, centre(batch, SIZE).transpose(2, 3), atol=1e-5)


def test_a_turn_by_any_angle_agrees_with_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    batch = galaxy(SIZE + 24, stretch=1.8, x=3.0)
    linear, _ = affine(1, only(rotate=True), SIZE, seeded(2))
    degrees = math.degrees(math.atan2(linear[0, 1, 0], linear[0, 0, 0]))
    expected = ndimage.rotate(batch[0, 0].numpy() / 255, degrees, reshape=False, order=1)[12:-12, 12:-12]
    view = augment(batch, only(rotate=True), SIZE, seeded(2))[0, 0].numpy()
    assert np.abs(view - expected).max() < 1e-5  # both interpolate linearly between the same pixels
    assert 5 < abs(degrees) % 90 < 85


def test_turns_keep_the_light_of_a_galaxy() -> None:
    batch = galaxy(SIZE + 24, sigma=2.5, stretch=1.5).expand(50, 1, -1, -1).contiguous()
    light = augment(batch, only(rotate=True), SIZE, seeded()).sum(dim=(1, 2, 3))
    # a bilinear sum over a turned grid of a blob with sigma 2.5 px differs from the plain sum by aliasing alone
    assert torch.allclose(light, centre(batch, SIZE).sum().expand(50) / 50, rtol=2e-3)


def test_shift_moves_by_at_most_what_was_asked() -> None:
    choice = only(shift=3.0)
    batch = galaxy(SIZE + 2 * margin(choice, SIZE), sigma=2.0).expand(400, 1, -1, -1).contiguous()
    views = augment(batch, choice, SIZE, seeded())[:, 0]
    rows = torch.arange(SIZE) - (SIZE - 1) / 2
    light = views.sum(dim=(1, 2))
    x, y = (views.sum(dim=1) @ rows) / light, (views.sum(dim=2) @ rows) / light
    for offset in (x, y):
        assert offset.abs().max() <= 3.01 and offset.abs().max() > 2.8
        assert abs(offset.mean()) < 0.35  # uniform in +-3: sigma / sqrt(400) = 0.09, four of them
        assert offset.std() == pytest.approx(3 / math.sqrt(3), abs=0.15)


def test_zoom_scales_sizes_between_its_bounds() -> None:
    choice = only(zoom=1.5)
    batch = galaxy(64 + 2 * margin(choice, 64), sigma=5.0).expand(200, 1, -1, -1).contiguous()
    light = augment(batch, choice, 64, seeded()).sum(dim=(1, 2, 3)) / centre(batch, 64)[0].sum()
    zoom = light.sqrt()  # area of the blob goes with the square of the factor
    assert zoom.min() > 1 / 1.51 and zoom.max() < 1.51
    assert zoom.log().mean() == pytest.approx(0, abs=0.07)  # log-uniform: sigma log(1.5) / sqrt(3 * 200) = 0.017, four


def test_a_crop_stays_inside_the_picture_and_enlarges() -> None:
    ramp = torch.arange(SIZE, dtype=torch.uint8).expand(100, 1, SIZE, SIZE).contiguous()
    view = augment(ramp, only(crop=0.5), SIZE, seeded())[:, 0, 0] * 255  # (100, SIZE)
    step = view.diff(dim=1)[:, 4:-4]
    assert step.min() > 0.49 and step.max() < 1.01  # px of the galaxy per px of the view
    assert view[:, 0].min() < 1 and view[:, 0].max() > 5 and view[:, -1].max() > SIZE - 2


def test_a_margin_is_enough_for_every_view() -> None:
    choice = Augment(shift=4.0, zoom=1.2, crop=0.2)
    side = SIZE + 2 * margin(choice, SIZE)
    linear, offset = affine(4000, choice, SIZE, seeded())
    corner = (SIZE - 1) / 2
    corners = torch.tensor([[x, y] for x in (-corner, corner) for y in (-corner, corner)]).T  # (2, 4)
    reached = (linear @ corners + offset[:, :, None]).abs().max()
    assert reached <= (side - 1) / 2
    assert reached > (side - 1) / 2 - 5  # and not wasteful
    assert margin(only(rotate=True, rotate_step=90.0), SIZE) == 0
    assert margin(only(rotate=True, rotate_step=45.0), SIZE) > 0


def test_steps_of_45_degrees_are_all_that_come() -> None:
    linear, _ = affine(500, only(rotate=True, rotate_step=45.0), SIZE, seeded())
    turns = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0])) / 45
    assert torch.allclose(turns, turns.round(), atol=1e-4)
    assert len(set((turns.round() % 8).tolist())) == 8


def test_a_chance_of_a_quarter_is_one_in_four() -> None:
    linear, _ = affine(4000, only(rotate=True, rotate_chance=0.25), SIZE, seeded())
    turned = (linear[:, 0, 0] != 1).float().mean()
    assert turned == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))


def test_equal_seeds_give_equal_views_and_others_do_not() -> None:
    choice = Augment(blur=1.0, colour=0.2, noise=0.1)
    batch = noise(side=SIZE + 2 * margin(choice, SIZE))
    colours = principal_components(batch.numpy())
    first, same, other = (augment(batch, choice, SIZE, seeded(s), colours=colours) for s in (3, 3, 4))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert first.dtype == torch.float32 and first.shape == (8, 3, SIZE, SIZE)
    assert first.min() >= 0 and first.max() <= 1


def test_switching_one_change_on_leaves_the_others_as_they_were() -> None:
    plain, shifted = only(rotate=True, zoom=1.2), only(rotate=True, zoom=1.2, shift=3.0)
    assert torch.equal(affine(9, plain, SIZE, seeded())[0], affine(9, shifted, SIZE, seeded())[0])


def test_blur_keeps_light_and_flat_skies_and_widens_as_it_says() -> None:
    flat = torch.full((4, 2, SIZE, SIZE), 77, dtype=torch.uint8)
    assert torch.allclose(augment(flat, only(blur=3.0), SIZE, seeded()), torch.tensor(77 / 255), atol=1e-6)
    star = torch.zeros(200, 1, 65, 65, dtype=torch.uint8)
    star[:, :, 32, 32] = 255
    view = augment(star, only(blur=4.0), 65, seeded())[:, 0]  # (200, 65, 65)
    assert torch.allclose(view.sum(dim=(1, 2)), torch.tensor(1.0), atol=1e-4)
    rows = (torch.arange(65) - 32.0) ** 2
    sigma = (view.sum(dim=1) @ rows).sqrt()
    expected = 4 * torch.rand(200, generator=seeded())  # the first thing drawn
    wide = expected > 0.8  # a narrower Gaussian is not resolved by whole pixels
    assert torch.allclose(sigma[wide], expected[wide], rtol=1e-2)


def test_noise_has_the_strength_that_was_drawn() -> None:
    grey = torch.full((300, 1, SIZE, SIZE), 128, dtype=torch.uint8)
    spread = augment(grey, only(noise=0.1), SIZE, seeded()).std(dim=(1, 2, 3))
    expected = 0.1 * torch.rand(300, generator=seeded())
    assert torch.allclose(spread, expected, atol=0.1 * 4 / math.sqrt(2 * SIZE**2))  # 4 sigma of a sampled deviation


def test_colours_vary_along_the_axis_of_the_pixels() -> None:
    generator = np.random.default_rng(0)
    brightness = generator.normal(0, 20, (40, 1, 16, 16))
    pixels = np.clip(128 + brightness * np.array([3, 2, 1])[None, :, None, None] / math.sqrt(14), 0, 255)
    colours = principal_components(np.round(pixels).astype(np.uint8))
    assert torch.allclose(colours[2], torch.tensor([3.0, 2, 1]) / math.sqrt(14) * 20 / 255, rtol=0.05)
    assert colours[:2].norm(dim=1).max() < 0.1 * colours[2].norm()  # what rounding to whole grey levels leaves
    batch = torch.full((500, 3, 4, 4), 128, dtype=torch.uint8)
    moved = (augment(batch, only(colour=0.5), 4, seeded(), colours=colours) - 128 / 255)[:, :, 0, 0]  # (500, 3)
    strength = moved @ colours[2] / (colours[2] @ colours[2])
    assert strength.std() == pytest.approx(0.5, rel=0.15)
    with pytest.raises(RecipeError, match="principal components"):
        augment(batch, only(colour=0.5), 4, seeded())


def test_one_band_has_one_component() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16), dtype=np.uint8)
    assert principal_components(pixels).item() == pytest.approx(pixels.std() / 255, rel=1e-5)


def test_only_mirrors_turn_spirals_round() -> None:
    for choice in (Augment(), only(transpose=True)):
        assert choice.mirrors
    for choice in (only(rotate=True, shift=3.0), Augment(flip_chance=0.0)):
        assert not choice.mirrors
        assert (torch.linalg.det(affine(50, choice, SIZE, seeded())[0]) > 0).all()


@pytest.mark.parametrize(
    "key, value",
    [("zoom", 0.5), ("crop", 1.0), ("flip_chance", 1.5), ("noise", -0.1), ("blur", math.inf), ("zoom", math.nan)],
)
def test_choices_that_cannot_be_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(RecipeError, match=key):
        check(replace(Augment(), **{key: value}))
    check(Augment())


def test_a_batch_too_small_for_its_crop_is_refused() -> None:
    with pytest.raises(RecipeError, match="no central 40"):
        centre(noise(), 40)


def test_a_view_is_mirrored_where_it_is_said_to_be() -> None:
    """A picture bright at its upper left and half as bright at its upper right shows its sense."""
    picture = torch.zeros(200, 1, SIZE, SIZE, dtype=torch.uint8)
    picture[:, :, : SIZE // 2, : SIZE // 2] = 240
    picture[:, :, : SIZE // 2, SIZE // 2 :] = 120
    choice = only(rotate=True, rotate_step=90.0, flip=True, transpose=True)
    generator = seeded(3)
    flags = mirrored_views(200, choice, SIZE, generator)
    views = augment(picture, choice, SIZE, generator)[:, 0]
    half = SIZE // 4
    corners = torch.stack(
        [views[:, half, half], views[:, half, -half], views[:, -half, -half], views[:, -half, half]], 1
    )
    bright = corners.argmax(dim=1)
    after = corners.gather(1, ((bright + 1) % 4)[:, None])[:, 0]  # clockwise of the brightest: half as bright, or dark
    assert torch.equal(flags, after < 0.2)
    assert 40 < int(flags.sum()) < 160
    assert not mirrored_views(50, only(rotate=True), SIZE, seeded()).any()
